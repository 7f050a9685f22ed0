#include "engine/unit_filter.hpp"

#include <set>
#include <thread>
#include <vector>

#include "engine/check.hpp"

using namespace kedge::engine;  // NOLINT: a test

namespace {

constexpr EventKind kKinds[] = {EventKind::errors, EventKind::timeouts, EventKind::refusals,
                                EventKind::invalid, EventKind::slow};

void without_a_key_every_request_is_a_unit_of_its_own() {
  UnitFilter filter;
  for (int request = 0; request < 3; ++request) {
    const Unit unit = own_unit();
    CHECK(filter.first_request(unit));
    for (const EventKind kind : kKinds)
      CHECK(filter.first_event(unit, kind) && filter.first_event(unit, kind));
  }
  CHECK(!filter.first_event(Unit{}, EventKind::slow));  // not drawn
}

void a_key_comes_first_once_for_requests_and_for_each_kind() {
  UnitFilter filter;
  const Unit first = filter.enter(77, 5);
  const Unit again = filter.enter(77, 5);
  CHECK(filter.first_request(first) && !filter.first_request(again));
  for (const EventKind kind : kKinds) {
    CHECK(filter.first_event(again, kind));
    CHECK(!filter.first_event(first, kind));
  }
  CHECK(filter.first_request(filter.enter(78, 5)));
  CHECK(!filter.first_request(filter.enter(77 + UnitFilter::kBits, 5)));  // shares its bit
}

void a_period_starts_afresh_and_one_that_is_over_counts_no_more() {
  UnitFilter filter;
  const Unit before = filter.enter(1, 10);
  CHECK(filter.first_event(before, EventKind::errors));
  const Unit after = filter.enter(1, 11);
  CHECK(filter.first_request(after) && filter.first_event(after, EventKind::errors));
  CHECK(!filter.first_event(before, EventKind::slow));
  CHECK(!filter.first_request(filter.enter(2, 10)));  // read its clock just before the boundary
  CHECK(filter.first_request(filter.enter(2, 11)));
  CHECK(filter.first_request(filter.enter(1, 3)));  // a clock that was set back
}

void threads_agree_on_who_came_first() {
  constexpr std::uint64_t kKeys = 20'000;
  constexpr int kThreads = 4;
  UnitFilter filter;
  std::atomic<std::int64_t> firsts{0};
  std::atomic<std::int64_t> events{0};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&] {
      std::int64_t mine = 0;
      std::int64_t errors = 0;
      for (std::uint64_t key = 0; key < kKeys; ++key) {
        const Unit unit = filter.enter(key * 0x9E3779B97F4A7C15U, 4);
        mine += filter.first_request(unit) ? 1 : 0;
        errors += filter.first_event(unit, EventKind::errors) ? 1 : 0;
      }
      firsts += mine;
      events += errors;
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<std::uint64_t> places;
  for (std::uint64_t key = 0; key < kKeys; ++key) {
    places.insert(key * 0x9E3779B97F4A7C15U % UnitFilter::kBits);
  }
  CHECK(firsts == static_cast<std::int64_t>(places.size()));
  CHECK(events == firsts);
}

// Threads that cross a boundary together: every key counts at least once in the last period, and never twice
// in one.
void a_new_period_is_begun_by_one_thread() {
  UnitFilter filter;
  std::atomic<int> firsts{0};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&] {
      for (std::uint64_t period = 1; period <= 50; ++period)
        firsts += filter.first_request(filter.enter(9, period)) ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(firsts >= 50);
  CHECK(!filter.first_request(filter.enter(9, 50)));
}

}  // namespace

int main() {
  without_a_key_every_request_is_a_unit_of_its_own();
  a_key_comes_first_once_for_requests_and_for_each_kind();
  a_period_starts_afresh_and_one_that_is_over_counts_no_more();
  threads_agree_on_who_came_first();
  a_new_period_is_begun_by_one_thread();
  std::puts("ok");
}
