#include "sketch/tensor.hpp"

#include <doctest/doctest.h>

#include <cmath>

namespace kedge::sketch::test {

TEST_CASE("halves become the floats they stand for") {
  CHECK(float_from_half(0x0000) == 0.0F);
  CHECK(std::signbit(float_from_half(0x8000)));
  CHECK(float_from_half(0x3C00) == 1.0F);
  CHECK(float_from_half(0xC000) == -2.0F);
  CHECK(float_from_half(0x7BFF) == 65504.0F);
  CHECK(float_from_half(0x0001) == 0x1p-24F);
  CHECK(float_from_half(0x83FF) == -1023 * 0x1p-24F);
  CHECK(float_from_half(0x0400) == 0x1p-14F);
  CHECK(float_from_half(0x7C00) == INFINITY);
  CHECK(float_from_half(0xFC00) == -INFINITY);
  CHECK(std::isnan(float_from_half(0x7E01)));
  CHECK(std::isnan(float_from_half(0xFC01)));
}

TEST_CASE("every half keeps its place among its neighbours") {
  for (std::uint16_t bits = 0; bits < 0x7C00; ++bits) {
    CHECK(float_from_half(bits) < float_from_half(static_cast<std::uint16_t>(bits + 1)));
  }
}

TEST_CASE("bfloat16 is the upper half of a float") {
  CHECK(widen<double>(Bfloat{0x3F80}) == 1.0);
  CHECK(widen<float>(Bfloat{0xC040}) == -3.0F);
  CHECK(std::isnan(widen<float>(Bfloat{0x7FC0})));
}

}  // namespace kedge::sketch::test
