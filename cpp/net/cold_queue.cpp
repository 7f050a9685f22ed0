#include "net/cold_queue.hpp"

namespace kedge::net {

bool ColdQueue::push(ColdEvent event) {
  const bool must_fit = event.kind == ColdKind::cancel || event.kind == ColdKind::half_close;
  {
    const std::lock_guard lock(mutex_);
    const bool full = events_.size() >= kMaxWaiting || event.payload.size() > kMaxBytes - bytes_;
    if (closed_ || (!must_fit && full)) return false;
    bytes_ += event.payload.size();
    events_.push_back(std::move(event));
  }
  ready_.notify_one();
  return true;
}

std::optional<ColdEvent> ColdQueue::pop() {
  std::unique_lock lock(mutex_);
  ready_.wait(lock, [&] { return closed_ || !events_.empty(); });
  if (events_.empty()) return std::nullopt;
  ColdEvent event = std::move(events_.front());
  events_.pop_front();
  bytes_ -= event.payload.size();
  return event;
}

void ColdQueue::close() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  ready_.notify_all();
}

}  // namespace kedge::net
