// Tensors as the engine passes them around: by view.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/limits.hpp"
#include "engine/ort_api.hpp"

namespace kedge::engine {

inline constexpr std::size_t kMaxRank = limits::max_dimensions;

// A shape by value: no allocation on the request path.
class Shape {
 public:
  Shape() = default;
  explicit Shape(std::span<const std::int64_t> dims) {
    rank_ = dims.size() < kMaxRank ? dims.size() : kMaxRank;
    for (std::size_t i = 0; i < rank_; ++i) dims_[i] = dims[i];
  }
  std::size_t rank() const { return rank_; }
  std::int64_t operator[](std::size_t i) const { return dims_[i]; }
  std::int64_t& operator[](std::size_t i) { return dims_[i]; }
  const std::int64_t* data() const { return dims_.data(); }
  std::span<const std::int64_t> dims() const { return {dims_.data(), rank_}; }
  void resize(std::size_t rank) { rank_ = rank < kMaxRank ? rank : kMaxRank; }
  bool operator==(const Shape& other) const {
    if (rank_ != other.rank_) return false;
    for (std::size_t i = 0; i < rank_; ++i) {
      if (dims_[i] != other.dims_[i]) return false;
    }
    return true;
  }
  // Product of the dimensions; the caller has checked that it does not overflow.
  std::int64_t elements() const {
    std::int64_t product = 1;
    for (std::size_t i = 0; i < rank_; ++i) product *= dims_[i];
    return product;
  }

 private:
  std::array<std::int64_t, kMaxRank> dims_{};
  std::size_t rank_ = 0;
};

// Bytes an element takes in raw form; 0 for strings, whose elements carry their own length.
constexpr std::size_t element_size(ort::Element type) {
  switch (type) {
    case ort::Element::boolean:
    case ort::Element::uint8:
    case ort::Element::int8:
      return 1;
    case ort::Element::uint16:
    case ort::Element::int16:
    case ort::Element::float16:
    case ort::Element::bfloat16:
      return 2;
    case ort::Element::uint32:
    case ort::Element::int32:
    case ort::Element::float32:
      return 4;
    case ort::Element::uint64:
    case ort::Element::int64:
    case ort::Element::float64:
      return 8;
    case ort::Element::string:
    case ort::Element::undefined:
      return 0;
  }
  return 0;
}

// One input or output of a model. A dimension of -1 is dynamic; the first is the batch.
struct TensorSpec {
  std::string name;
  ort::Element type = ort::Element::undefined;
  Shape shape;
};

// A tensor's elements, row-major, little-endian, aligned to their size. Numbers lie in `bytes`. Strings going
// in are `strings`; coming out they lie one after another in `bytes`, each starting at its entry of
// `offsets`.
struct TensorView {
  ort::Element type = ort::Element::undefined;
  Shape shape;
  std::span<const std::uint8_t> bytes;
  std::span<const std::string_view> strings;
  std::span<const std::size_t> offsets;
};

}  // namespace kedge::engine
