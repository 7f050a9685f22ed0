// Where every counter of a layout lives in the snapshot. The same offsets as src/kedge/kernel/state.py.
#pragma once

#include <cstddef>
#include <vector>

#include "sketch/layout.hpp"

namespace kedge::sketch {

inline constexpr std::size_t kRowsWord = 0;
inline constexpr std::size_t kSchemaUnknownWord = 1;
inline constexpr std::size_t kStatusWord = 2;
inline constexpr std::size_t kHeaderBytes = 56;

struct FeatureState {
  std::size_t slots = 0;  // first slot among the words; a numeric feature's sums follow its 32 slots
  std::size_t bounds =
      0;  // its minimum among the bounds, its maximum follows; unused for a categorical feature
};

struct State {
  explicit State(const Layout& layout);

  std::vector<FeatureState> features;
  std::vector<FeatureState> scores;
  std::size_t classes = 0;
  std::size_t top = 0;
  std::size_t margin = 0;
  std::size_t entropy = 0;
  std::size_t reliability_n = 0;
  std::size_t reliability_p = 0;
  std::size_t reliability_v = 0;
  std::size_t schema = 0;
  std::size_t latency_queue = 0;
  std::size_t latency_run_by_size = 0;
  std::size_t words = 0;
  std::size_t bounds = 0;

  std::size_t snapshot_bytes() const { return kHeaderBytes + 8 * (words + bounds); }
};

}  // namespace kedge::sketch
