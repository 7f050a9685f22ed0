// A view of a tensor the caller owns, and conversion of its elements.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace kedge::sketch {

enum class Element : std::uint8_t {
  kBool,
  kInt8,
  kUint8,
  kInt16,
  kUint16,
  kInt32,
  kUint32,
  kInt64,
  kUint64,
  kFloat16,
  kBfloat16,
  kFloat32,
  kFloat64,
  kString,  // the elements are std::string_view
};

// [rows, columns] elements, at any stride in bytes and any alignment.
struct TensorView {
  Element element = Element::kFloat32;
  const std::byte* data = nullptr;
  std::size_t rows = 0;
  std::size_t columns = 1;
  std::ptrdiff_t row_stride = 0;
  std::ptrdiff_t column_stride = 0;

  const std::byte* at(std::size_t row, std::size_t column) const {
    return data + static_cast<std::ptrdiff_t>(row) * row_stride +
           static_cast<std::ptrdiff_t>(column) * column_stride;
  }
};

// IEEE half to float, exactly; a NaN stays a NaN.
inline float float_from_half(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000U) << 16U;
  const std::uint32_t magnitude = half & 0x7FFFU;
  if (magnitude >= 0x7C00U) return std::bit_cast<float>(sign | 0x7F800000U | (magnitude & 0x3FFU) << 13U);
  if (magnitude < 0x0400U) {
    const float value = static_cast<float>(magnitude) * 0x1p-24F;
    return sign != 0 ? -value : value;
  }
  return std::bit_cast<float>(sign | ((magnitude << 13U) + (112U << 23U)));
}

struct Half {
  std::uint16_t bits;
};
struct Bfloat {
  std::uint16_t bits;
};

template <class T>
T load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

// The value as float or double, as numpy converts it.
template <class Out, class T>
Out widen(T value) {
  return static_cast<Out>(value);
}
template <class Out>
Out widen(Half value) {
  return static_cast<Out>(float_from_half(value.bits));
}
template <class Out>
Out widen(Bfloat value) {
  return static_cast<Out>(std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16U));
}

// Whether every value of the element type is a float32, exactly.
constexpr bool fits_float32(Element element) {
  switch (element) {
    case Element::kInt32:
    case Element::kUint32:
    case Element::kInt64:
    case Element::kUint64:
    case Element::kFloat64:
    case Element::kString:
      return false;
    default:
      return true;
  }
}

constexpr bool is_floating(Element element) {
  return element == Element::kFloat16 || element == Element::kBfloat16 || element == Element::kFloat32 ||
         element == Element::kFloat64;
}

// Calls `visit` with a value of the C++ type of a numeric element. Strings are the caller's business.
template <class Visit>
void with_element(Element element, Visit&& visit) {
  switch (element) {
    case Element::kBool:
    case Element::kUint8:
      return visit(std::uint8_t{});
    case Element::kInt8:
      return visit(std::int8_t{});
    case Element::kInt16:
      return visit(std::int16_t{});
    case Element::kUint16:
      return visit(std::uint16_t{});
    case Element::kInt32:
      return visit(std::int32_t{});
    case Element::kUint32:
      return visit(std::uint32_t{});
    case Element::kInt64:
      return visit(std::int64_t{});
    case Element::kUint64:
      return visit(std::uint64_t{});
    case Element::kFloat16:
      return visit(Half{});
    case Element::kBfloat16:
      return visit(Bfloat{});
    case Element::kFloat32:
      return visit(float{});
    case Element::kFloat64:
      return visit(double{});
    case Element::kString:
      return;
  }
}

}  // namespace kedge::sketch
