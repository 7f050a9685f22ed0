// The vector loops over a group of features, one feature a lane, compiled once for every instruction set.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "sketch/slots.hpp"

namespace kedge::sketch {

inline constexpr std::size_t kMaxWidth = 16;

// A group as the loops see it. Every array has one entry a lane; bounds are [bounds][width], a missing bound
// NaN.
struct GroupView {
  const float* bounds32;
  const double* bounds64;
  std::size_t bounds;
  std::size_t live;  // lanes that carry a feature
  // What the moments cover: lowest <= x <= highest and x != missing.
  const double* lowest;
  const double* highest;
  const double* missing;
  const double* center;
  const double* scale;
  // State. The sums hold integers and stay exact below 2^53.
  double* sum_q;
  double* sum_q2;
  double* minimum;
  double* maximum;
  std::int64_t* hits;  // [width][kPositions]
};

// One instruction set. `rows` points at n rows of `width` neighbouring elements, `stride` bytes apart, at any
// alignment; lanes past `live` are read and their result ignored.
struct Ops {
  const char* isa;
  std::size_t width;
  void (*count32)(const GroupView& group, const std::byte* rows, std::ptrdiff_t stride, std::size_t n);
  void (*count64)(const GroupView& group, const std::byte* rows, std::ptrdiff_t stride, std::size_t n);
  void (*moments32)(const GroupView& group, const std::byte* rows, std::ptrdiff_t stride, std::size_t n);
  void (*moments64)(const GroupView& group, const std::byte* rows, std::ptrdiff_t stride, std::size_t n);
  // Mean, deviation, norm, minimum and maximum of `n` values; `out` has five.
  void (*summary64)(const double* values, std::size_t n, double* out);
};

// The instruction sets this processor can run, best first. Never empty.
std::span<const Ops* const> available_ops();

// The one named, or null if it is unknown or this processor lacks it.
const Ops* find_ops(const char* isa);

}  // namespace kedge::sketch
