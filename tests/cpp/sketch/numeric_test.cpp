#include "sketch/numeric.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>

#include "helpers.hpp"

namespace kedge::sketch::test {
namespace {

Layout wide_layout(std::size_t columns) {
  Layout layout;
  layout.tensors = {{"x", columns, false}};
  for (std::size_t column = 0; column < columns; ++column) {
    NumericFeature feature = numeric(0, column, {-1.0, -0.5, 0.0, 0.5, 1.0});
    feature.scale = 100.0;
    feature.valid_max = 2.0;
    layout.features.emplace_back(feature);
  }
  return layout;
}

std::vector<float> noise(std::size_t count) {
  std::mt19937 generator(5);
  std::normal_distribution<float> normal;
  std::vector<float> x(count);
  for (std::size_t i = 0; i < count; ++i)
    x[i] = i % 97 == 0 ? NAN : i % 89 == 0 ? INFINITY : normal(generator);
  return x;
}

}  // namespace

TEST_CASE("every instruction set, memory layout and batch size counts the same") {
  for (const std::size_t columns : {1U, 5U, 8U, 16U, 33U}) {
    const Layout layout = wide_layout(columns);
    constexpr std::size_t kRows = 131;
    const std::vector<float> x = noise(kRows * columns);
    const auto expected = make(layout, *available_ops().back());
    REQUIRE(expected->observe({{view(x, columns)}}).ok());
    for (const Ops* ops : available_ops()) {
      const std::string isa = ops->isa;
      CAPTURE(isa);
      CAPTURE(columns);
      const auto by_row = make(layout, *ops);
      for (std::size_t row = 0; row < kRows; ++row) {
        TensorView one = view(x, columns);
        one.data = one.at(row, 0);
        one.rows = 1;
        REQUIRE(by_row->observe({&one, 1}).ok());
      }
      CHECK(counts(*by_row) == counts(*expected));

      const std::vector<double> doubles(x.begin(), x.end());
      const auto wide = make(layout, *ops);
      REQUIRE(wide->observe({{view(doubles, columns)}}).ok());
      CHECK(counts(*wide) == counts(*expected));

      // Misaligned, and every second element of every second row, from the last one back.
      std::vector<std::byte> raw(16 * x.size() + 1);
      const auto step = static_cast<std::ptrdiff_t>(columns) * 16;
      TensorView strided = {Element::kFloat32, raw.data() + 1, kRows, columns, step, 8};
      for (std::size_t row = 0; row < kRows; ++row) {
        for (std::size_t column = 0; column < columns; ++column) {
          std::memcpy(raw.data() + (strided.at(row, column) - raw.data()), &x[row * columns + column],
                      sizeof(float));
        }
      }
      strided.data = strided.at(kRows - 1, 0);
      strided.row_stride = -step;
      const auto backwards = make(layout, *ops);
      REQUIRE(backwards->observe({&strided, 1}).ok());
      CHECK(counts(*backwards) == counts(*expected));
    }
  }
}

TEST_CASE("features in any order and more than once read their own column") {
  Layout layout = wide_layout(9);
  std::reverse(layout.features.begin(), layout.features.end());
  layout.features.push_back(layout.features.front());
  const std::vector<float> x = noise(9 * 20);
  for (const Ops* ops : available_ops()) {
    const auto sketch = make(layout, *ops);
    REQUIRE(sketch->observe({{view(x, 9)}}).ok());
    const auto straight = make(wide_layout(9), *ops);
    REQUIRE(straight->observe({{view(x, 9)}}).ok());
    const Counts a = counts(*sketch);
    const Counts b = counts(*straight);
    const auto feature = [](const Sketch& of, const Counts& all, std::size_t i) {
      const auto first = all.words.begin() + static_cast<std::ptrdiff_t>(of.state().features[i].slots);
      return std::vector<std::int64_t>(first, first + kNumericSlots + 2);
    };
    for (std::size_t i = 0; i < 9; ++i) CHECK(feature(*sketch, a, i) == feature(*straight, b, 8 - i));
    CHECK(feature(*sketch, a, 9) == feature(*sketch, a, 0));
  }
}

}  // namespace kedge::sketch::test
