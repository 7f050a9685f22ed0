// Numeric features, cut into groups of one vector width that are counted together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "sketch/intervals.hpp"
#include "sketch/ops.hpp"
#include "sketch/state.hpp"
#include "sketch/tensor.hpp"

namespace kedge::sketch {

class NumericCounter {
 public:
  struct Item {
    const NumericFeature* feature;  // read by the constructor alone
    FeatureState place;
  };

  NumericCounter(const Ops& ops, std::span<const Item> items);
  NumericCounter(NumericCounter&&) noexcept;
  NumericCounter& operator=(NumericCounter&&) noexcept;
  ~NumericCounter();

  // Count `rows` rows. The views are numeric, and have that many rows and every column the features read.
  void observe(std::span<const TensorView> tensors, std::size_t rows);

  // Add all that was counted to a state, and keep it.
  void add_to(std::span<std::int64_t> words, std::span<double> bounds) const;

  void clear();

 private:
  struct Group;

  void flush_sums();

  const Ops* ops_;
  std::vector<std::unique_ptr<Group>> groups_;
  std::size_t rows_since_flush_ = 0;
  std::unique_ptr<std::byte[]> scratch_;
};

}  // namespace kedge::sketch
