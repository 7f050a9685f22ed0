#include "load/tally.hpp"

#include <doctest/doctest.h>

using kedge::load::Tally;

TEST_CASE("Origins are found again, and are bounded") {
  Tally tally;
  CHECK(tally.origin("a", "1") == 0);
  CHECK(tally.origin("a", "2") == 1);
  CHECK(tally.origin("a", "1") == 0);
  for (int at = 0; at < 5000; ++at) static_cast<void>(tally.origin("b", std::to_string(at)));
  CHECK(tally.origins.size() == 256);
  CHECK(tally.origins.back().version == "(others)");
  CHECK(tally.origin("a", "2") == 1);
}

TEST_CASE("Threads add up") {
  Tally left;
  Tally right;
  ++left.origins.emplace_back(kedge::load::Origin{"a", "1", 4}).count;
  right.origins = {{"b", "1", 2}, {"a", "1", 3}};
  left.intervals.resize(1);
  right.intervals.resize(2);
  right.intervals[0].ok = 7;
  right.intervals[1].shed = 9;
  right.texts[8] = "full";
  right.statuses[8] = 9;
  left.add(right);
  CHECK(left.origins[0].count == 8);
  CHECK(left.origins[1].bundle == "b");
  CHECK(left.origins[1].count == 2);
  CHECK(left.intervals[0].ok == 7);
  CHECK(left.intervals[1].shed == 9);
  CHECK(left.texts[8] == "full");
  CHECK(left.statuses[8] == 9);
}
