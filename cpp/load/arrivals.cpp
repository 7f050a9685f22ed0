#include "load/arrivals.hpp"

#include <cmath>

namespace kedge::load {

std::int64_t Arrivals::next() {
  if (pattern_ == Pattern::uniform) {
    const double now = at_ns_;
    at_ns_ += gap_ns_;
    return static_cast<std::int64_t>(now);
  }
  constexpr double step = 0x1p-53;
  const double uniform = static_cast<double>(random_() >> 11) * step;  // [0, 1)
  at_ns_ -= std::log1p(-uniform) * gap_ns_;
  return static_cast<std::int64_t>(at_ns_);
}

}  // namespace kedge::load
