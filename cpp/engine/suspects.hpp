// Rows of one bundle whose inputs were all finite and whose prediction was not: a model's fault, not a
// client's.
#pragma once

#include <atomic>
#include <mutex>
#include <vector>

#include "engine/reservoir.hpp"

namespace kedge::engine {

// The first of them since they were last taken, by any writer: whoever judges them makes room by that, or
// rows that only look innocent would keep out those that are. Reached only by such rows, so it may lock.
class Suspects {
 public:
  static constexpr std::size_t kRows = 16;
  static constexpr std::size_t kBytes = std::size_t{16} * 1024 * 1024;  // rows that are images

  bool full() const { return full_.load(std::memory_order_relaxed); }
  void add(SampledRow row);
  std::vector<SampledRow> take();

 private:
  std::mutex mutex_;
  std::vector<SampledRow> rows_;
  std::size_t bytes_ = 0;
  std::atomic<bool> full_{false};
};

}  // namespace kedge::engine
