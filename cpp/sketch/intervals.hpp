// A numeric feature as one sorted line of bounds: every rule of the contract becomes "how many bounds are <=
// x".
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "sketch/layout.hpp"

namespace kedge::sketch {

struct Intervals {
  std::vector<double> bounds;                   // increasing
  std::array<std::uint8_t, kPositions> slot{};  // by position
};

Intervals compile(const NumericFeature& feature);

// The smallest float32 that is >= value: x >= value and x >= round_up(value) agree for every float32 x.
float round_up(double value);

}  // namespace kedge::sketch
