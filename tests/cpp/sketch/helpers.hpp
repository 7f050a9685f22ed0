// Small values the tests of the sketch share.
#pragma once

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "sketch/sketch.hpp"

namespace kedge::sketch::test {

inline constexpr double kInfinity = std::numeric_limits<double>::infinity();
inline constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

inline NumericFeature numeric(std::size_t tensor, std::size_t column, std::vector<double> edges) {
  NumericFeature feature;
  feature.name = std::string("x");
  feature.tensor = tensor;
  feature.column = column;
  feature.edges = std::move(edges);
  return feature;
}

template <class T>
constexpr Element element_of() {
  if constexpr (std::is_same_v<T, float>) return Element::kFloat32;
  if constexpr (std::is_same_v<T, double>) return Element::kFloat64;
  if constexpr (std::is_same_v<T, std::int8_t>) return Element::kInt8;
  if constexpr (std::is_same_v<T, std::int32_t>) return Element::kInt32;
  if constexpr (std::is_same_v<T, std::int64_t>) return Element::kInt64;
  if constexpr (std::is_same_v<T, std::uint64_t>) return Element::kUint64;
  if constexpr (std::is_same_v<T, std::string_view>) return Element::kString;
}

// A row-major view of a vector.
template <class T>
TensorView view(const std::vector<T>& values, std::size_t columns = 1) {
  constexpr auto kSize = static_cast<std::ptrdiff_t>(sizeof(T));
  return {element_of<T>(), reinterpret_cast<const std::byte*>(values.data()), values.size() / columns,
          columns,         static_cast<std::ptrdiff_t>(columns) * kSize,      kSize};
}

inline std::unique_ptr<Sketch> make(const Layout& layout, const Ops& ops) {
  return std::move(Sketch::create(layout, ops)).value();
}

struct Counts {
  std::vector<std::int64_t> words;
  std::vector<double> bounds;
  bool operator==(const Counts&) const = default;
};

inline Counts counts(const Sketch& sketch) {
  Counts result{std::vector<std::int64_t>(sketch.state().words), std::vector<double>(sketch.state().bounds)};
  sketch.counts_into(result.words, result.bounds);
  return result;
}

}  // namespace kedge::sketch::test
