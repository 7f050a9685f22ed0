#include "net/cold_queue.hpp"

#include <thread>

#include "engine/check.hpp"

using namespace kedge::net;  // NOLINT: a test

namespace {

void events_come_in_order_and_ends_always_fit() {
  ColdQueue queue;
  for (std::uint64_t call = 0; call < ColdQueue::kMaxWaiting; ++call)
    CHECK(queue.push({call, ColdKind::open, {}, {}, {}}));
  CHECK(!queue.push({9999, ColdKind::message, {}, {}, {}}));
  CHECK(queue.push({1, ColdKind::cancel, {}, {}, {}}));
  for (std::uint64_t call = 0; call < ColdQueue::kMaxWaiting; ++call) CHECK(queue.pop()->call == call);
  CHECK(queue.pop()->kind == ColdKind::cancel);
}

void messages_fit_by_their_bytes_too() {
  ColdQueue queue;
  const std::string half(ColdQueue::kMaxBytes / 2, 'x');
  CHECK(queue.push({1, ColdKind::message, {}, {}, half}));
  CHECK(queue.push({2, ColdKind::message, {}, {}, half}));
  CHECK(!queue.push({3, ColdKind::message, {}, {}, "x"}));
  CHECK(queue.push({1, ColdKind::half_close, {}, {}, {}}));
  CHECK(queue.pop()->call == 1);
  CHECK(queue.push({3, ColdKind::message, {}, {}, "x"}));
  CHECK(!queue.push({4, ColdKind::message, {}, {}, half}));
}

void closing_wakes_the_reader_and_keeps_what_waits() {
  ColdQueue queue;
  CHECK(queue.push({7, ColdKind::open, {}, {}, {}}));
  std::thread closer([&] { queue.close(); });
  CHECK(queue.pop()->call == 7);
  CHECK(!queue.pop().has_value());
  closer.join();
  CHECK(!queue.push({8, ColdKind::open, {}, {}, {}}));
}

}  // namespace

int main() {
  events_come_in_order_and_ends_always_fit();
  messages_fit_by_their_bytes_too();
  closing_wakes_the_reader_and_keeps_what_waits();
  std::puts("ok");
}
