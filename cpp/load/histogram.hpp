// Durations in log-linear cells: fixed relative precision over nine decades, by a shift and an add.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace kedge::load {

class Histogram {
 public:
  // A cell is at most 2^-bits of its values wide: 1/256, 0.4 %.
  static constexpr unsigned default_bits = 8;
  // Nanoseconds, some 18 minutes; larger ones count as this.
  static constexpr std::int64_t max_value = (std::int64_t{1} << 40) - 1;

  explicit Histogram(unsigned bits = default_bits) : bits_(bits) {}

  // Negative ones count as 0.
  void record(std::int64_t value);
  // Of the same bits.
  void add(const Histogram& other);

  [[nodiscard]] unsigned bits() const { return bits_; }
  [[nodiscard]] std::uint64_t count() const { return count_; }
  // Exact; 0 where nothing was recorded.
  [[nodiscard]] std::int64_t min() const { return count_ == 0 ? 0 : min_; }
  [[nodiscard]] std::int64_t max() const { return max_; }
  [[nodiscard]] double mean() const;
  // The smallest value that a share of 0 to 1 of all values does not pass (nearest rank), up to its cell:
  // never below the true one, at most 2^-bits above it. 0 where nothing was recorded.
  [[nodiscard]] std::int64_t at(double share) const;

  // By cell; cells past the end are empty.
  [[nodiscard]] const std::vector<std::uint64_t>& counts() const { return counts_; }
  // The lowest and highest value of a cell.
  [[nodiscard]] std::int64_t lowest(std::size_t cell) const;
  [[nodiscard]] std::int64_t highest(std::size_t cell) const;

 private:
  [[nodiscard]] std::size_t cell_of(std::int64_t value) const;

  unsigned bits_;
  std::vector<std::uint64_t> counts_;  // grows with the largest value seen
  std::uint64_t count_ = 0;
  std::int64_t min_ = max_value;
  std::int64_t max_ = 0;
  double sum_ = 0;
};

}  // namespace kedge::load
