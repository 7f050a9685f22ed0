#include "engine/suspects.hpp"

namespace kedge::engine {

void Suspects::add(SampledRow row) {
  const std::lock_guard lock(mutex_);
  if (full()) return;
  bytes_ += size_of(row);
  rows_.push_back(std::move(row));
  full_.store(rows_.size() >= kRows || bytes_ >= kBytes, std::memory_order_relaxed);
}

std::vector<SampledRow> Suspects::rows() const {
  const std::lock_guard lock(mutex_);
  return rows_;
}

}  // namespace kedge::engine
