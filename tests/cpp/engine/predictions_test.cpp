#include "engine/predictions.hpp"

#include <cmath>

#include "engine/environment.hpp"

using namespace kedge;          // NOLINT: a test
using namespace kedge::engine;  // NOLINT: a test

namespace {

template <class T>
TensorView view(ort::Element type, std::vector<std::int64_t> shape, const std::vector<T>& values) {
  return {type,
          Shape(shape),
          {reinterpret_cast<const std::uint8_t*>(values.data()), values.size() * sizeof(T)},
          {},
          {}};
}

// A model whose own graph does not matter: only what its outputs are said to mean does.
std::unique_ptr<Model> model(const test::Environment& given, const Runtime& runtime, PredictionKind kind,
                             std::vector<std::string> classes,
                             std::optional<std::size_t> label = std::nullopt) {
  ModelConfig config;
  config.session.path = given.models + "/neg.onnx";
  config.prediction = {kind, 0, label, std::move(classes)};
  return std::make_unique<Model>(runtime, std::move(config));
}

std::vector<std::int64_t> ids(const Predictions::View& seen) {
  std::vector<std::int64_t> out;
  for (std::size_t row = 0; row < seen.classes->rows; ++row)
    out.push_back(sketch::load<std::int64_t>(seen.classes->at(row, 0)));
  return out;
}

void probabilities_are_passed_on_and_their_top_is_the_class(const test::Environment& given,
                                                            const Runtime& runtime) {
  const auto asked = model(given, runtime, PredictionKind::probabilities, {"a", "b", "c"});
  const std::vector<float> p = {0.2F, 0.5F, 0.3F, 0.6F, 0.2F, 0.2F};
  const TensorView out = view(ort::Element::float32, {2, 3}, p);
  Predictions predictions;
  const auto seen = predictions.read(*asked, {&out, 1}, 2);
  CHECK(seen.probabilities && (ids(seen) == std::vector<std::int64_t>{1, 0}));
  CHECK(seen.scores->columns == 3 && sketch::load<float>(seen.scores->at(1, 0)) == 0.6F);
}

void one_score_a_row_is_that_of_the_second_class(const test::Environment& given, const Runtime& runtime) {
  const auto asked = model(given, runtime, PredictionKind::probabilities, {"no", "yes"});
  const std::vector<float> p = {0.25F, 0.75F};
  const TensorView out = view(ort::Element::float32, {2, 1}, p);
  Predictions predictions;
  const auto seen = predictions.read(*asked, {&out, 1}, 2);
  CHECK((ids(seen) == std::vector<std::int64_t>{0, 1}));
  CHECK(sketch::load<double>(seen.scores->at(0, 0)) == 0.75 &&
        sketch::load<double>(seen.scores->at(0, 1)) == 0.25);
}

void logits_become_probabilities(const test::Environment& given, const Runtime& runtime) {
  const auto asked = model(given, runtime, PredictionKind::logits, {"a", "b"});
  const std::vector<double> z = {1000, 1000 + std::log(3.0)};
  const TensorView out = view(ort::Element::float64, {1, 2}, z);
  Predictions predictions;
  const auto seen = predictions.read(*asked, {&out, 1}, 1);
  CHECK(std::abs(sketch::load<double>(seen.scores->at(0, 1)) - 0.75) < 1e-12);
  CHECK(ids(seen) == std::vector<std::int64_t>{1});
}

void labels_are_found_by_name(const test::Environment& given, const Runtime& runtime) {
  const auto asked = model(given, runtime, PredictionKind::label, {"cat", "dog", "7"});
  const std::string text = "dogcatbird";
  const std::size_t offsets[] = {0, 3, 6};
  TensorView out{ort::Element::string,
                 Shape(std::vector<std::int64_t>{3}),
                 {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()},
                 {},
                 offsets};
  Predictions predictions;
  auto seen = predictions.read(*asked, {&out, 1}, 3);
  CHECK((ids(seen) == std::vector<std::int64_t>{1, 0, 3}));  // 3: none of the classes
  CHECK(seen.scores == nullptr && !seen.probabilities);
  const std::vector<float> numbers = {7.0F, 8.0F};
  out = view(ort::Element::float32, {2}, numbers);
  seen = predictions.read(*asked, {&out, 1}, 2);
  CHECK((ids(seen) == std::vector<std::int64_t>{2, 3}));
}

void outputs_that_are_not_as_stated_are_not_read(const test::Environment& given, const Runtime& runtime) {
  const auto asked = model(given, runtime, PredictionKind::value, {});
  const std::vector<std::int64_t> whole = {1};
  const TensorView wrong_type = view(ort::Element::int64, {1, 1}, whole);
  Predictions predictions;
  CHECK(predictions.read(*asked, {&wrong_type, 1}, 1).scores == nullptr);
  const std::vector<float> value = {1.5F};
  const TensorView right = view(ort::Element::float32, {1, 1}, value);
  CHECK(predictions.read(*asked, {&right, 1}, 1).scores != nullptr);
  CHECK(predictions.read(*asked, {&right, 1}, 2).scores == nullptr);  // another number of rows
}

}  // namespace

int main(int argc, char** argv) {
  const test::Environment given(argc, argv);
  const auto runtime = given.runtime();
  probabilities_are_passed_on_and_their_top_is_the_class(given, *runtime);
  one_score_a_row_is_that_of_the_second_class(given, *runtime);
  logits_become_probabilities(given, *runtime);
  labels_are_found_by_name(given, *runtime);
  outputs_that_are_not_as_stated_are_not_read(given, *runtime);
  std::puts("ok");
}
