#include "sketch/intervals.hpp"

#include <algorithm>
#include <cmath>

namespace kedge::sketch {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// The contract's rules 3 to 7 and a sentinel, for a value that is not NaN.
std::size_t slot_of(const NumericFeature& feature, double x) {
  if (feature.missing && x == *feature.missing) return kMissingSlot;
  if (x == kInfinity) return kPosInf;
  if (x == -kInfinity) return kNegInf;
  if (x < feature.valid_min || x > feature.valid_max) return kOutOfRange;
  for (std::size_t i = 0; i < feature.atoms.size(); ++i) {
    if (x == feature.atoms[i]) return kFirstAtom + i;
  }
  if (x < feature.edges.front()) return kUnderflow;
  if (x >= feature.edges.back()) return kOverflow;
  const auto above = std::upper_bound(feature.edges.begin(), feature.edges.end(), x);
  return static_cast<std::size_t>(above - feature.edges.begin()) - 1;
}

}  // namespace

float round_up(double value) {
  const auto nearest = static_cast<float>(value);
  return static_cast<double>(nearest) < value
             ? std::nextafter(nearest, std::numeric_limits<float>::infinity())
             : nearest;
}

Intervals compile(const NumericFeature& feature) {
  Intervals result;
  std::vector<double>& bounds = result.bounds;
  const auto single = [&bounds](double value) {
    bounds.push_back(value);
    bounds.push_back(std::nextafter(value, kInfinity));
  };
  single(-kInfinity);
  bounds.push_back(kInfinity);
  bounds.insert(bounds.end(), feature.edges.begin(), feature.edges.end());
  for (const double atom : feature.atoms) single(atom);
  if (feature.missing && !std::isnan(*feature.missing)) single(*feature.missing);
  bounds.push_back(feature.valid_min);
  bounds.push_back(std::nextafter(feature.valid_max, kInfinity));
  std::sort(bounds.begin(), bounds.end());
  bounds.erase(std::unique(bounds.begin(), bounds.end()), bounds.end());

  // Between two neighbouring bounds no rule changes its answer, so the lower one answers for the interval.
  const bool nan_is_missing = feature.missing && std::isnan(*feature.missing);
  result.slot[0] = static_cast<std::uint8_t>(nan_is_missing ? kMissingSlot : kNan);
  for (std::size_t i = 0; i < bounds.size(); ++i) {
    result.slot[i + 1] = static_cast<std::uint8_t>(slot_of(feature, bounds[i]));
  }
  return result;
}

}  // namespace kedge::sketch
