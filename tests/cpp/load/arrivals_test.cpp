#include "load/arrivals.hpp"

#include <doctest/doctest.h>

using kedge::load::Arrivals;
using kedge::load::Pattern;

TEST_CASE("A uniform schedule has equal gaps, from its offset on") {
  Arrivals every(Pattern::uniform, 1000.0, 0, 250'000.0);
  for (std::int64_t at = 0; at < 10'000; ++at) CHECK(every.next() == 250'000 + at * 1'000'000);
}

TEST_CASE("A Poisson schedule is ascending, keeps its rate, and is the same for the same seed") {
  constexpr int count = 100'000;
  Arrivals first(Pattern::poisson, 20'000.0, 7);
  Arrivals second(Pattern::poisson, 20'000.0, 7);
  std::int64_t before = 0;
  for (int at = 0; at < count; ++at) {
    const std::int64_t now = first.next();
    REQUIRE(now >= before);
    REQUIRE(now == second.next());
    before = now;
  }
  const double seconds = static_cast<double>(before) / 1e9;
  CHECK(seconds == doctest::Approx(count / 20'000.0).epsilon(0.015));  // over 4 standard deviations
}
