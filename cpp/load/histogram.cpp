#include "load/histogram.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace kedge::load {

// Values below 2^(bits + 1) have a cell each; above, every power of two is cut into 2^bits cells.
std::size_t Histogram::cell_of(std::int64_t value) const {
  const auto magnitude = static_cast<std::uint64_t>(value);
  const auto width = static_cast<unsigned>(std::bit_width(magnitude));
  if (width <= bits_ + 1) return static_cast<std::size_t>(magnitude);
  const unsigned shift = width - (bits_ + 1);
  return (static_cast<std::size_t>(shift) << bits_) + static_cast<std::size_t>(magnitude >> shift);
}

std::int64_t Histogram::lowest(std::size_t cell) const {
  const std::size_t row = cell >> bits_;
  if (row < 2) return static_cast<std::int64_t>(cell);
  const std::size_t shift = row - 1;
  return static_cast<std::int64_t>((cell - (shift << bits_)) << shift);
}

std::int64_t Histogram::highest(std::size_t cell) const { return lowest(cell + 1) - 1; }

void Histogram::record(std::int64_t value) {
  value = std::clamp(value, std::int64_t{0}, max_value);
  const std::size_t cell = cell_of(value);
  if (cell >= counts_.size()) counts_.resize(cell + 1);
  ++counts_[cell];
  ++count_;
  min_ = std::min(min_, value);
  max_ = std::max(max_, value);
  sum_ += static_cast<double>(value);
}

void Histogram::add(const Histogram& other) {
  if (other.counts_.size() > counts_.size()) counts_.resize(other.counts_.size());
  for (std::size_t cell = 0; cell < other.counts_.size(); ++cell) counts_[cell] += other.counts_[cell];
  count_ += other.count_;
  min_ = std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
  sum_ += other.sum_;
}

double Histogram::mean() const { return count_ == 0 ? 0.0 : sum_ / static_cast<double>(count_); }

std::int64_t Histogram::at(double share) const {
  const double wanted = std::ceil(share * static_cast<double>(count_));
  const auto rank = static_cast<std::uint64_t>(std::max(1.0, wanted));
  std::uint64_t seen = 0;
  for (std::size_t cell = 0; cell < counts_.size(); ++cell) {
    seen += counts_[cell];
    if (seen >= rank) return std::min(highest(cell), max_);
  }
  return max_;
}

}  // namespace kedge::load
