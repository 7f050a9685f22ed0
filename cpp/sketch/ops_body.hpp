// The loops themselves, in GCC vector extensions. Included once by every ops_<isa>.cpp, which sets KEDGE_ISA
// (a namespace), KEDGE_ISA_NAME and KEDGE_VECTOR_BYTES. No guard on purpose, and no inline function of the
// standard library: the linker would merge it with that of another instruction set.
#include <cstddef>
#include <cstdint>

#include "sketch/ops.hpp"

namespace kedge::sketch::KEDGE_ISA {
namespace {

constexpr std::size_t kBytes = KEDGE_VECTOR_BYTES;
constexpr std::size_t kFloats = kBytes / 4;
constexpr std::size_t kDoubles = kBytes / 8;
constexpr std::size_t kWidth = kFloats < 8 ? 8 : kFloats;

typedef float Floats __attribute__((vector_size(kBytes)));
typedef float HalfFloats __attribute__((vector_size(kBytes / 2)));
typedef double Doubles __attribute__((vector_size(kBytes)));
typedef std::int32_t Ints __attribute__((vector_size(kBytes)));
typedef std::int64_t Longs __attribute__((vector_size(kBytes)));

template <class Vector>
[[gnu::always_inline]] inline Vector load(const void* at) {
  Vector value;
  __builtin_memcpy(&value, at, sizeof value);
  return value;
}

template <class Vector>
[[gnu::always_inline]] inline void store(void* at, const Vector& value) {
  __builtin_memcpy(at, &value, sizeof value);
}

[[gnu::always_inline]] inline Doubles select(const Longs& mask, const Doubles& yes, const Doubles& no) {
  return (Doubles)((mask & (Longs)yes) | (~mask & (Longs)no));
}

template <class Index>
[[gnu::always_inline]] inline void add_hits(std::int64_t* hits, const Index& positions) {
  decltype(positions[0] + 0) index[sizeof(Index) / sizeof(positions[0])];
  store(index, positions);
  for (const auto at : index) ++hits[at];
}

// Position of a value = how many bounds are <= it. A comparison is -1 where it holds; a NaN compares false
// always.
template <class Scalar, class Vector, class Index>
[[gnu::always_inline]] inline void count(const GroupView& group, const Scalar* bounds, const std::byte* rows,
                                         std::ptrdiff_t stride, std::size_t n) {
  constexpr std::size_t kLanes = kBytes / sizeof(Scalar);
  for (std::size_t first = 0; first < group.live; first += kLanes) {
    const Scalar* const bound = bounds + first;
    std::int64_t* const hits = group.hits + first * kPositions;
    Index start;
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      start[lane] = static_cast<decltype(start[0] + 0)>(lane * kPositions);
    }
    const std::byte* row = rows + first * sizeof(Scalar);
    std::size_t left = n;
    for (; left >= 4; left -= 4, row += 4 * stride) {
      const auto x0 = load<Vector>(row);
      const auto x1 = load<Vector>(row + stride);
      const auto x2 = load<Vector>(row + 2 * stride);
      const auto x3 = load<Vector>(row + 3 * stride);
      Index p0 = start;
      Index p1 = start;
      Index p2 = start;
      Index p3 = start;
      for (std::size_t k = 0; k < group.bounds; ++k) {
        const auto b = load<Vector>(bound + k * kWidth);
        p0 -= (Index)(x0 >= b);
        p1 -= (Index)(x1 >= b);
        p2 -= (Index)(x2 >= b);
        p3 -= (Index)(x3 >= b);
      }
      add_hits(hits, p0);
      add_hits(hits, p1);
      add_hits(hits, p2);
      add_hits(hits, p3);
    }
    for (; left > 0; --left, row += stride) {
      const auto x = load<Vector>(row);
      Index p = start;
      for (std::size_t k = 0; k < group.bounds; ++k) p -= (Index)(x >= load<Vector>(bound + k * kWidth));
      add_hits(hits, p);
    }
  }
}

[[gnu::always_inline]] inline Doubles widen(const std::byte* at, const float*) {
  return __builtin_convertvector(load<HalfFloats>(at), Doubles);
}
[[gnu::always_inline]] inline Doubles widen(const std::byte* at, const double*) { return load<Doubles>(at); }

template <class Scalar>
[[gnu::always_inline]] inline void moments(const GroupView& group, const std::byte* rows,
                                           std::ptrdiff_t stride, std::size_t n) {
  // Adding and taking away 1.5 * 2^52 rounds a small double to the nearest integer, ties to even.
  const Doubles round = Doubles{} + 0x1.8p52;
  const Doubles clip = Doubles{} + 32768.0;
  const Doubles infinity = Doubles{} + __builtin_inf();
  for (std::size_t first = 0; first < group.live; first += kDoubles) {
    const auto lowest = load<Doubles>(group.lowest + first);
    const auto highest = load<Doubles>(group.highest + first);
    const auto missing = load<Doubles>(group.missing + first);
    const auto center = load<Doubles>(group.center + first);
    const auto scale = load<Doubles>(group.scale + first);
    auto sum_q = load<Doubles>(group.sum_q + first);
    auto sum_q2 = load<Doubles>(group.sum_q2 + first);
    auto minimum = load<Doubles>(group.minimum + first);
    auto maximum = load<Doubles>(group.maximum + first);
    const std::byte* row = rows + first * sizeof(Scalar);
    for (std::size_t left = n; left > 0; --left, row += stride) {
      const Doubles x = widen(row, static_cast<const Scalar*>(nullptr)) + 0.0;  // -0.0 becomes 0.0
      const Longs covered = (Longs)(x >= lowest) & (Longs)(x <= highest) & (Longs)(x != missing);
      Doubles q = (x - center) * scale;
      q = q < -clip ? -clip : q;
      q = q > clip ? clip : q;
      q = (q + round) - round;
      q = (Doubles)((Longs)q & covered);
      sum_q += q;
      sum_q2 += q * q;
      const Doubles low = select(covered, x, infinity);
      const Doubles high = select(covered, x, -infinity);
      minimum = low < minimum ? low : minimum;
      maximum = high > maximum ? high : maximum;
    }
    store(group.sum_q + first, sum_q);
    store(group.sum_q2 + first, sum_q2);
    store(group.minimum + first, minimum);
    store(group.maximum + first, maximum);
  }
}

void count32(const GroupView& group, const std::byte* rows, std::ptrdiff_t stride, std::size_t n) {
  count<float, Floats, Ints>(group, group.bounds32, rows, stride, n);
}

void count64(const GroupView& group, const std::byte* rows, std::ptrdiff_t stride, std::size_t n) {
  count<double, Doubles, Longs>(group, group.bounds64, rows, stride, n);
}

void moments32(const GroupView& group, const std::byte* rows, std::ptrdiff_t stride, std::size_t n) {
  moments<float>(group, rows, stride, n);
}

void moments64(const GroupView& group, const std::byte* rows, std::ptrdiff_t stride, std::size_t n) {
  moments<double>(group, rows, stride, n);
}

// Eight strided partial sums, added pairwise: the order the contract fixes, so that every kernel gets the
// same bits.
template <class Term>
[[gnu::always_inline]] inline double eight_sums(const double* values, std::size_t n, Term term) {
  double sums[8] = {};
  std::size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    for (std::size_t lane = 0; lane < 8; ++lane) sums[lane] += term(values[i + lane]);
  }
  for (std::size_t lane = 0; i < n; ++i, ++lane) sums[lane] += term(values[i]);
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

void summary64(const double* values, std::size_t n, double* out) {
  const auto count = static_cast<double>(n);
  const double mean = eight_sums(values, n, [](double x) { return x; }) / count;
  const double squares = eight_sums(values, n, [mean](double x) { return (x - mean) * (x - mean); });
  double low = values[0];
  double high = values[0];
  for (std::size_t i = 1; i < n; ++i) {
    low = values[i] < low ? values[i] : low;
    high = values[i] > high ? values[i] : high;
  }
  const double norm = eight_sums(values, n, [](double x) { return x * x; });
  const bool has_nan = norm != norm;  // squares are never negative: only a NaN makes their sum one
  out[0] = mean;
  out[1] = __builtin_sqrt(squares / count);
  out[2] = __builtin_sqrt(norm);
  out[3] = has_nan ? norm : low;
  out[4] = has_nan ? norm : high;
}

}  // namespace

extern const Ops kOps;
const Ops kOps = {KEDGE_ISA_NAME, kWidth, count32, count64, moments32, moments64, summary64};

}  // namespace kedge::sketch::KEDGE_ISA
