#include "load/histogram.hpp"

#include <doctest/doctest.h>

#include <random>

using kedge::load::Histogram;

TEST_CASE("An empty histogram says zero") {
  const Histogram none;
  CHECK(none.count() == 0);
  CHECK(none.at(0.99) == 0);
  CHECK(none.min() == 0);
  CHECK(none.max() == 0);
  CHECK(none.mean() == 0.0);
}

TEST_CASE("Cells follow each other without a gap, and none is wider than 2^-bits of its values") {
  const Histogram any(4);
  for (std::size_t cell = 0; cell < 500; ++cell) {
    CHECK(any.highest(cell) + 1 == any.lowest(cell + 1));
    const std::int64_t width = any.highest(cell) - any.lowest(cell);
    CHECK(width * 16 <= any.lowest(cell));
  }
}

TEST_CASE("A value is in the cell that it names") {
  std::mt19937_64 random(1);
  for (int turn = 0; turn < 2000; ++turn) {
    const auto value = static_cast<std::int64_t>(random() >> (24 + random() % 39));
    Histogram one;
    one.record(value);
    const std::size_t cell = one.counts().size() - 1;
    CHECK(one.lowest(cell) <= value);
    CHECK(value <= one.highest(cell));
    CHECK(one.at(0.5) == value);  // never above the largest
  }
}

TEST_CASE("Percentiles are those of the nearest rank") {
  Histogram hundred;
  for (std::int64_t value = 1; value <= 100; ++value) hundred.record(value);
  CHECK(hundred.at(0.0) == 1);
  CHECK(hundred.at(0.5) == 50);
  CHECK(hundred.at(0.99) == 99);
  CHECK(hundred.at(0.999) == 100);
  CHECK(hundred.mean() == doctest::Approx(50.5));
}

TEST_CASE("What is out of range counts at its end") {
  Histogram edge;
  edge.record(-5);
  edge.record(Histogram::max_value + 7);
  CHECK(edge.min() == 0);
  CHECK(edge.max() == Histogram::max_value);
  CHECK(edge.at(1.0) == Histogram::max_value);
}

TEST_CASE("Adding two is recording into one") {
  Histogram left;
  Histogram right;
  Histogram both;
  for (std::int64_t value : {3, 900, 70'000}) {
    left.record(value);
    both.record(value);
  }
  for (std::int64_t value : {1, 5'000'000}) {
    right.record(value);
    both.record(value);
  }
  left.add(right);
  CHECK(left.counts() == both.counts());
  CHECK(left.count() == both.count());
  CHECK(left.min() == both.min());
  CHECK(left.max() == both.max());
  CHECK(left.mean() == both.mean());
}
