#include "sketch/intervals.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>

#include "helpers.hpp"

namespace kedge::sketch::test {
namespace {

std::size_t slot_at(const Intervals& intervals, double x) {
  std::size_t position = 0;
  for (const double bound : intervals.bounds) position += x >= bound ? 1 : 0;
  return intervals.slot[position];
}

}  // namespace

TEST_CASE("every rule of the contract is an interval") {
  NumericFeature feature = numeric(0, 0, {0.0, 1.0, 2.0});
  feature.atoms = {0.5, 1.0};
  feature.valid_min = -1.0;
  feature.valid_max = 5.0;
  feature.missing = -999.0;
  const Intervals intervals = compile(feature);
  CHECK(slot_at(intervals, kNaN) == kNan);
  CHECK(slot_at(intervals, -kInfinity) == kNegInf);
  CHECK(slot_at(intervals, kInfinity) == kPosInf);
  CHECK(slot_at(intervals, -999.0) == kMissingSlot);
  CHECK(slot_at(intervals, std::nextafter(-999.0, 0.0)) == kOutOfRange);
  CHECK(slot_at(intervals, std::nextafter(5.0, 6.0)) == kOutOfRange);
  CHECK(slot_at(intervals, 5.0) == kOverflow);
  CHECK(slot_at(intervals, -1.0) == kUnderflow);
  CHECK(slot_at(intervals, 0.5) == kFirstAtom);
  CHECK(slot_at(intervals, 1.0) == kFirstAtom + 1);
  CHECK(slot_at(intervals, -0.0) == 0);
  CHECK(slot_at(intervals, std::nextafter(1.0, 2.0)) == 1);
}

TEST_CASE("NaN is missing unless the feature says otherwise") {
  CHECK(compile(numeric(0, 0, {0.0, 1.0})).slot[0] == kMissingSlot);
}

TEST_CASE("the largest feature stays within the positions") {
  std::vector<double> edges;
  for (int i = 0; i <= 20; ++i) edges.push_back(i);
  NumericFeature feature = numeric(0, 0, edges);
  feature.atoms = {0.5, 1.5, 2.5, 3.5, 4.5};
  feature.valid_min = -10;
  feature.valid_max = 30;
  feature.missing = -5.0;
  CHECK(compile(feature).bounds.size() == kMaxBounds);
}

TEST_CASE("rounding a bound up never changes the comparison of a float") {
  std::mt19937_64 generator(11);
  for (int i = 0; i < 200'000; ++i) {
    const auto bits = generator();
    const auto bound = std::bit_cast<double>(bits);
    if (std::isnan(bound)) continue;
    const float rounded = round_up(bound);
    for (const float x :
         {rounded, std::nextafter(rounded, -INFINITY), std::nextafter(rounded, INFINITY), 0.0F}) {
      CHECK_MESSAGE((static_cast<double>(x) >= bound) == (x >= rounded), bound);
    }
  }
  CHECK(round_up(1e300) == std::numeric_limits<float>::infinity());
  CHECK(round_up(-1e300) == -std::numeric_limits<float>::max());
  CHECK(round_up(5e-324) == std::numeric_limits<float>::denorm_min());
}

}  // namespace kedge::sketch::test
