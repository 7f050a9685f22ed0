// Categorical features: a fixed hash table from category to slot.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sketch/layout.hpp"
#include "sketch/tensor.hpp"

namespace kedge::sketch {

// Open addressing, at most half full, filled once from the layout: requests only look up, so no input can
// grow a chain.
class CategoryTable {
 public:
  explicit CategoryTable(const CategoricalFeature& feature);

  bool integers() const { return integers_; }
  std::size_t find(std::string_view category) const;
  std::size_t find(std::int64_t category) const;
  // The slot of one element of a tensor, of any type.
  std::size_t slot(Element element, const std::byte* at) const;

 private:
  struct Entry {
    std::uint64_t hash = 0;  // for an integer the integer itself
    std::uint32_t begin = 0;
    std::uint32_t size = 0;
    std::uint32_t slot = kEmpty;
  };
  static constexpr std::uint32_t kEmpty = 0xFFFFFFFFU;

  void insert(const Category& category, std::size_t slot);

  bool integers_;
  std::uint64_t mask_;
  std::vector<Entry> entries_;
  std::string text_;
};

class CategoricalCounter {
 public:
  CategoricalCounter(const CategoricalFeature& feature, std::size_t slots)
      : table_(feature), tensor_(feature.tensor), column_(feature.column), slots_(slots) {}

  // Count one column into the 64 words this feature has in the state.
  void observe(std::span<const TensorView> tensors, std::span<std::int64_t> words) const;

 private:
  CategoryTable table_;
  std::size_t tensor_;
  std::size_t column_;
  std::size_t slots_;
};

}  // namespace kedge::sketch
