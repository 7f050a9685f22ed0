#include "engine/route_table.hpp"

#include <thread>

#include "engine/check.hpp"

using namespace kedge;          // NOLINT: a test
using namespace kedge::engine;  // NOLINT: a test

namespace {

Route two_arms(double canary) {
  Route route;
  for (const Arm arm : {Arm::canary, Arm::live}) {
    route.arms.push_back(std::make_shared<const Target>(Target{nullptr, arm, 1, 0, 1}));
  }
  route.thresholds = {wire::share_threshold(canary), wire::share_threshold(1.0)};
  return route;
}

void a_key_keeps_its_arm_within_a_period_and_a_growing_share_only_adds_keys() {
  const Route small = two_arms(0.1);
  const Route large = two_arms(0.4);
  int canaries = 0;
  for (int user = 0; user < 2000; ++user) {
    const std::string key = "user-" + std::to_string(user);
    const Picker picker{key, 0, 1'000'000};
    const Arm arm = small.pick(small.draw(picker))->arm;
    CHECK(small.pick(small.draw({key, 12345, 1'000'001}))->arm == arm);
    if (arm == Arm::canary) {
      ++canaries;
      CHECK(large.pick(large.draw(picker))->arm == Arm::canary);
    }
  }
  CHECK(canaries > 140 && canaries < 260);  // 200 expected, standard deviation 13
}

void without_a_key_the_draw_decides() {
  const Route route = two_arms(0.25);
  CHECK(route.pick(route.draw({{}, 0, 0}))->arm == Arm::canary);
  CHECK(route.pick(route.draw({{}, ~std::uint64_t{0}, 0}))->arm == Arm::live);
}

void a_publish_waits_for_readers_that_are_awake() {
  RoutePointer pointer(2);
  RouteTable first;
  first.generation = 1;
  pointer.store(&first);
  CHECK(pointer.quiescent(1));  // both sleep
  CHECK(pointer.last_pick_ns(1) == 0);
  pointer.wake(0);
  CHECK(!pointer.quiescent(1));
  const std::int64_t before = RoutePointer::now_ns();
  CHECK(pointer.read(0) == &first);
  CHECK(pointer.quiescent(1));
  const std::int64_t picked = pointer.last_pick_ns(1);
  CHECK(picked >= before);
  CHECK(pointer.read(0) == &first);  // only the first pick counts
  CHECK(pointer.last_pick_ns(1) == picked);
  RouteTable second;
  second.generation = 2;
  pointer.store(&second);
  CHECK(!pointer.quiescent(2));
  pointer.sleep(0);
  CHECK(pointer.quiescent(2));
}

// A reader that wakes, picks and sleeps again must never pick from a table the publisher has given up.
void no_reader_picks_from_a_table_that_was_given_up() {
  RoutePointer pointer(1);
  std::atomic<std::uint64_t> given_up{0};
  std::atomic<bool> stop{false};
  std::thread reader([&] {
    while (!stop.load()) {
      pointer.wake(0);
      const std::uint64_t gone = given_up.load();
      const RouteTable* table = pointer.read(0);
      CHECK(table == nullptr || table->generation > gone);
      pointer.sleep(0);
    }
  });
  std::unique_ptr<RouteTable> before;
  for (std::uint64_t generation = 1; generation <= 20'000; ++generation) {
    auto table = std::make_unique<RouteTable>();
    table->generation = generation;
    pointer.store(table.get());
    pointer.await(generation);
    given_up.store(generation - 1);
    before = std::move(table);
  }
  stop.store(true);
  reader.join();
}

// The last of several that were awake ends the wait, whether it picks or goes to sleep.
void a_waiting_publisher_is_woken_by_the_last_reader() {
  for (const bool picks : {true, false}) {
    RoutePointer pointer(2);
    pointer.wake(0);
    pointer.wake(1);
    RouteTable table;
    table.generation = 1;
    pointer.store(&table);
    std::atomic<bool> published{false};
    std::thread publisher([&] {
      pointer.await(1);
      published.store(true);
    });
    CHECK(pointer.read(0) == &table);
    CHECK(!published.load());
    if (picks) {
      CHECK(pointer.read(1) == &table);
    } else {
      pointer.sleep(1);
    }
    publisher.join();
    CHECK(pointer.quiescent(1));
  }
}

}  // namespace

int main() {
  a_key_keeps_its_arm_within_a_period_and_a_growing_share_only_adds_keys();
  without_a_key_the_draw_decides();
  a_publish_waits_for_readers_that_are_awake();
  no_reader_picks_from_a_table_that_was_given_up();
  a_waiting_publisher_is_woken_by_the_last_reader();
  std::puts("ok");
}
