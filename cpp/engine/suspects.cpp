#include "engine/suspects.hpp"

#include <utility>

namespace kedge::engine {

void Suspects::add(SampledRow row) {
  const std::lock_guard lock(mutex_);
  if (full()) return;
  bytes_ += size_of(row);
  rows_.push_back(std::move(row));
  full_.store(rows_.size() >= kRows || bytes_ >= kBytes, std::memory_order_relaxed);
}

std::vector<SampledRow> Suspects::take() {
  const std::lock_guard lock(mutex_);
  bytes_ = 0;
  full_.store(false, std::memory_order_relaxed);
  return std::exchange(rows_, {});
}

}  // namespace kedge::engine
