// When requests are to be sent: a schedule that knows nothing of answers.
#pragma once

#include <cstdint>
#include <random>

namespace kedge::load {

enum class Pattern : std::uint8_t { uniform, poisson };

class Arrivals {
 public:
  // `rate` a second, above 0. `offset_ns` moves the first of a uniform schedule, so that several interleave.
  Arrivals(Pattern pattern, double rate, std::uint64_t seed, double offset_ns = 0.0)
      : pattern_(pattern), gap_ns_(1e9 / rate), at_ns_(offset_ns), random_(seed) {}

  // The next time, in nanoseconds from the start; never before the one before it. Poisson: gaps are
  // exponential, drawn from the same numbers everywhere (std::exponential_distribution differs between
  // libraries).
  std::int64_t next();

 private:
  Pattern pattern_;
  double gap_ns_;
  double at_ns_;  // exact to a nanosecond for 104 days
  std::mt19937_64 random_;
};

}  // namespace kedge::load
