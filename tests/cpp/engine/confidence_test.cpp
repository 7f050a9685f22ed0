#include "engine/confidence.hpp"

#include <cmath>
#include <cstring>
#include <limits>

#include "engine/environment.hpp"

using namespace kedge;          // NOLINT: a test
using namespace kedge::engine;  // NOLINT: a test

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

template <class T>
TensorView view(std::vector<std::int64_t> shape, const std::vector<T>& values) {
  constexpr auto type = sizeof(T) == 4 ? ort::Element::float32 : ort::Element::float64;
  const auto* const data = reinterpret_cast<const std::uint8_t*>(values.data());
  return {type, Shape(shape), {data, values.size() * sizeof(T)}, {}, {}};
}

// A model whose own graph does not matter: only what its outputs are said to mean does.
class Asked {
 public:
  Asked(const test::Environment& given, const Runtime& runtime, PredictionKind kind, ScoreKind score,
        double threshold) {
    ModelConfig config;
    config.session.path = given.models + "/neg.onnx";
    config.prediction.kind = kind;
    if (kind != PredictionKind::value) config.prediction.classes = {"a", "b", "c"};
    config.prediction.lower_output = 1;
    config.prediction.upper_output = 2;
    config.prediction.sigma_output = 1;
    config.calibration = {score, 0.1, threshold};
    model = std::make_unique<Model>(runtime, std::move(config));
  }
  std::span<const wire::OutputView> tell(std::span<const TensorView> outputs, std::size_t all,
                                         std::size_t first, std::size_t rows) {
    const Predictions::View seen = predictions.read(*model, outputs, all);
    return tensors.compute(*model, seen, outputs, first, rows);
  }
  std::unique_ptr<Model> model;
  Predictions predictions;
  ConfidenceTensors tensors;
};

std::vector<double> numbers(const wire::OutputView& output) {
  std::vector<double> out(output.data.size() / sizeof(double));
  if (!out.empty()) std::memcpy(out.data(), output.data.data(), output.data.size());
  return out;
}

std::vector<int> flags(const wire::OutputView& output) { return {output.data.begin(), output.data.end()}; }

std::vector<std::int64_t> shape(const wire::OutputView& output) {
  return {output.shape.begin(), output.shape.end()};
}

void sets_hold_what_is_within_the_threshold(const test::Environment& given, const Runtime& runtime) {
  Asked asked(given, runtime, PredictionKind::probabilities, ScoreKind::lac, 0.75);
  const std::vector<float> p = {0.9F, 0.05F, 0.05F, 0.5F, 0.25F, 0.25F, 0.125F, 0.625F, 0.25F};
  const TensorView out = view({3, 3}, p);
  const auto told = asked.tell({&out, 1}, 3, 1, 2);
  CHECK(told.size() == 2 && told[0].name == "kedge.confidence" && told[1].name == "kedge.set");
  CHECK(told[0].dtype == wire::DType::fp64 && told[1].dtype == wire::DType::boolean);
  CHECK((shape(told[0]) == std::vector<std::int64_t>{2}) &&
        (shape(told[1]) == std::vector<std::int64_t>{2, 3}));
  CHECK((numbers(told[0]) == std::vector<double>{0.5, 0.625}));
  CHECK((flags(told[1]) == std::vector<int>{1, 1, 1, 0, 1, 1}));  // 0.25 is just within
}

void empty_sets_get_the_top_class(const test::Environment& given, const Runtime& runtime) {
  Asked asked(given, runtime, PredictionKind::probabilities, ScoreKind::lac, -kInfinity);
  const std::vector<double> p = {0.2, 0.5, 0.3, kNaN, 0.1, 0.2};
  const TensorView out = view({2, 3}, p);
  CHECK((flags(asked.tell({&out, 1}, 2, 0, 2)[1]) == std::vector<int>{0, 1, 0, 1, 0, 0}));
  asked.model->confide(0.65);
  CHECK((flags(asked.tell({&out, 1}, 2, 0, 1)[1]) == std::vector<int>{0, 1, 0}));
  asked.model->confide(kInfinity);
  CHECK((flags(asked.tell({&out, 1}, 2, 0, 1)[1]) == std::vector<int>{1, 1, 1}));
}

void values_get_an_interval_of_their_score(const test::Environment& given, const Runtime& runtime) {
  const std::vector<float> y = {10.0F, -2.0F};
  const std::vector<double> low = {2.0, 0.5};
  const std::vector<float> high = {12.0F, 1.5F};
  const std::vector<TensorView> outputs = {view({2, 1}, y), view({2, 1}, low), view({2}, high)};
  const auto bounds = [&](ScoreKind score, double threshold) {
    Asked asked(given, runtime, PredictionKind::value, score, threshold);
    const auto told = asked.tell(outputs, 2, 0, 2);
    CHECK(told.size() == 3 && told[1].name == "kedge.lower" && told[2].name == "kedge.upper");
    CHECK((numbers(told[0]) == std::vector<double>{0.9, 0.9}));
    return std::pair(numbers(told[1]), numbers(told[2]));
  };
  using Bounds = std::pair<std::vector<double>, std::vector<double>>;
  CHECK((bounds(ScoreKind::absolute, 3) == Bounds{{7, -5}, {13, 1}}));
  CHECK((bounds(ScoreKind::absolute, -kInfinity) == Bounds{{10, -2}, {10, -2}}));
  CHECK((bounds(ScoreKind::absolute, kInfinity) == Bounds{{-kInfinity, -kInfinity}, {kInfinity, kInfinity}}));
  CHECK((bounds(ScoreKind::scaled, 3) == Bounds{{4, -3.5}, {16, -0.5}}));
  CHECK((bounds(ScoreKind::scaled, kInfinity) == Bounds{{-kInfinity, -kInfinity}, {kInfinity, kInfinity}}));
  CHECK((bounds(ScoreKind::quantile, 1) == Bounds{{1, -0.5}, {13, 2.5}}));
  CHECK((bounds(ScoreKind::quantile, -1) == Bounds{{3, 1}, {11, 1}}));  // the second would be empty
}

void outputs_that_are_not_as_stated_tell_nothing(const test::Environment& given, const Runtime& runtime) {
  const std::vector<float> y = {1.0F, 2.0F};
  Asked scaled(given, runtime, PredictionKind::value, ScoreKind::scaled, 1);
  const std::vector<TensorView> wide = {view({2, 1}, y), view({1, 2}, y)};
  CHECK(scaled.tell(wide, 2, 0, 2).empty());
  Asked lac(given, runtime, PredictionKind::value, ScoreKind::absolute, 1);
  const TensorView other_rows = view({1, 2}, y);
  CHECK(lac.tell({&other_rows, 1}, 2, 0, 2).empty());
}

void no_rows_have_empty_tensors(const test::Environment& given, const Runtime& runtime) {
  Asked asked(given, runtime, PredictionKind::logits, ScoreKind::lac, 1);
  const std::vector<float> none;
  const TensorView out = view({0, 3}, none);
  const auto told = asked.tell({&out, 1}, 0, 0, 0);
  CHECK((shape(told[1]) == std::vector<std::int64_t>{0, 3}) && told[1].data.empty());
}

void what_cannot_be_told_is_said() {
  ModelConfig config;
  CHECK(no_confidence(config).find("prediction") != std::string_view::npos);
  config.prediction.kind = PredictionKind::value;
  CHECK(no_confidence(config).find("calibration") != std::string_view::npos);
  config.calibration = Calibration{};
  CHECK(no_confidence(config).empty());
  config.session.outputs = {{"y", ort::Element::float16, Shape()}};
  CHECK(no_confidence(config).find("neither FP32 nor FP64") != std::string_view::npos);
}

}  // namespace

int main(int argc, char** argv) {
  const test::Environment given(argc, argv);
  const auto runtime = given.runtime();
  sets_hold_what_is_within_the_threshold(given, *runtime);
  empty_sets_get_the_top_class(given, *runtime);
  values_get_an_interval_of_their_score(given, *runtime);
  outputs_that_are_not_as_stated_tell_nothing(given, *runtime);
  no_rows_have_empty_tensors(given, *runtime);
  what_cannot_be_told_is_said();
  std::puts("ok");
}
