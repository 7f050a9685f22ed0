#include "engine/slices.hpp"

#include <cmath>
#include <cstdio>

#include "engine/check.hpp"

using namespace kedge;          // NOLINT: a test
using namespace kedge::engine;  // NOLINT: a test

namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TensorView floats(const std::vector<float>& values, std::int64_t columns) {
  const std::int64_t dims[] = {static_cast<std::int64_t>(values.size()) / columns, columns};
  TensorView view;
  view.type = ort::Element::float32;
  view.shape = Shape(dims);
  view.bytes = {reinterpret_cast<const std::uint8_t*>(values.data()), values.size() * sizeof(float)};
  return view;
}

TensorView texts(const std::vector<std::string_view>& values) {
  const std::int64_t dims[] = {static_cast<std::int64_t>(values.size())};
  TensorView view;
  view.type = ort::Element::string;
  view.shape = Shape(dims);
  view.strings = values;
  return view;
}

SliceFeature numbers(std::size_t input, std::size_t column, std::uint16_t stride) {
  SliceFeature feature;
  feature.input = input;
  feature.column = column;
  feature.stride = stride;
  feature.edges = {15, 60};
  feature.missing = -1;
  return feature;
}

// Places 0 and 1 for the two, then unseen, then missing.
SliceFeature categories(std::size_t input) {
  SliceFeature feature;
  feature.input = input;
  feature.categories.emplace();
  feature.categories->vocabulary = {std::string("UA"), std::string("B6")};
  feature.categories->missing = std::string();
  feature.places.fill(2);
  feature.places[0] = 0;
  feature.places[1] = 1;
  feature.places[sketch::kCatMissing] = 3;
  return feature;
}

std::vector<std::uint16_t> ids(const Slices& slices, const std::vector<TensorView>& inputs,
                               std::size_t rows) {
  Slices::Views views;
  slices.read(inputs, rows, views);
  std::vector<std::uint16_t> found;
  for (std::size_t row = 0; row < rows; ++row) found.push_back(slices.id(views, row));
  return found;
}

void every_feature_has_its_digit() {
  const Slices slices({categories(0), numbers(1, 1, 4)});
  const std::vector<std::string_view> text = {"UA", "B6", "ua", ""};
  const std::vector<float> values = {0, 14.5F, 0, 15, 0, kNan, 0, -1};
  CHECK((ids(slices, {texts(text), floats(values, 2)}, 4) == std::vector<std::uint16_t>{1, 6, 15, 16}));
}

void a_number_equal_to_an_edge_lies_above_it() {
  const Slices slices({numbers(0, 0, 1)});
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> values = {-infinity, std::nextafter(15.0F, 0.0F), 15, 60, infinity, kNan};
  CHECK((ids(slices, {floats(values, 1)}, 6) == std::vector<std::uint16_t>{1, 1, 2, 3, 3, 4}));
}

void rows_whose_input_does_not_fit_are_in_no_slice() {
  const std::vector<float> values = {1, 2, 3, 4};
  const std::vector<std::string_view> text = {"UA", "B6"};
  const std::vector<std::uint16_t> none = {0, 0};
  CHECK(ids(Slices({numbers(0, 2, 1)}), {floats(values, 2)}, 2) == none);  // no third column
  CHECK(ids(Slices({numbers(0, 0, 1)}), {floats(values, 1)}, 2) == none);  // four rows
  CHECK(ids(Slices({numbers(0, 0, 1)}), {texts(text)}, 2) == none);        // text is no number
  CHECK(ids(Slices({}), {floats(values, 2)}, 2) == none);
  CHECK(
      (ids(Slices({categories(0)}), {floats(values, 2)}, 2) == std::vector<std::uint16_t>{3, 3}));  // unseen
}

}  // namespace

int main() {
  every_feature_has_its_digit();
  a_number_equal_to_an_edge_lies_above_it();
  rows_whose_input_does_not_fit_are_in_no_slice();
  std::puts("ok");
}
