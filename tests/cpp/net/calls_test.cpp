// What becomes of requests that nobody waits for any more, or whose answers must wait for others.
#include <algorithm>
#include <cstring>

#include "net/one_model.hpp"
#include "sketch/state.hpp"

using namespace kedge;  // NOLINT: a test

namespace {

constexpr std::string_view kStream = "/stream/ModelStreamInfer";

// How many answers of each status were counted, on the shard and on the threads of the pool.
std::int64_t counted(test::OneModel& served, Code code) {
  std::int64_t count = 0;
  const auto add = [&](engine::Observer& observer) {
    for (const engine::CellCounts& cell : observer.snapshot()) {
      std::int64_t word = 0;
      const std::size_t at =
          sketch::kHeaderBytes + (sketch::kStatusWord + static_cast<std::size_t>(code)) * sizeof word;
      std::memcpy(&word, cell.counts.data() + at, sizeof word);
      count += word;
    }
  };
  add(served.pipeline.observer());
  for (auto& done : served.pool->on_each(add)) done.wait();
  return count;
}

void a_deadline_past_the_end_of_time_is_none(const test::Environment& given) {
  test::OneModel served(given);
  served.pipeline.set_turn(engine::monotonic_ns());
  {
    test::Unread peer(served.pipeline, served.budget);
    const std::string said = test::http2_greeting() + test::http2_call(1, "/x/ModelInfer", "99999999H") +
                             test::http2_body(1, test::text_request("a")) +
                             test::http2_call(3, kStream, "99999999H") +
                             test::http2_part(3, test::text_request("b"));
    CHECK(peer.session.feed(wire::as_bytes(said)));
    served.pipeline.run_batches();
    CHECK(served.pipeline.under_way() == 2);
    served.returns.await(2);
    served.pipeline.answered(served.returns.answers);
    served.pipeline.released(served.returns.done);
    served.pipeline.expire(engine::monotonic_ns());
    CHECK(!peer.session.find(3)->done());
    peer.session.abandon();
  }
  CHECK(counted(served, Code::kOk) == 2);
}

void what_a_cancelled_stream_asked_for_is_not_run(const test::Environment& given) {
  test::OneModel served(given);
  {
    test::Unread peer(served.pipeline, served.budget);
    std::string said = test::http2_greeting() + test::http2_call(1, kStream);
    for (int count = 0; count < 5; ++count) said += test::http2_part(1, test::text_request("a"));
    CHECK(peer.session.feed(wire::as_bytes(said)));
    peer.session.abandon();
  }
  served.pipeline.run_batches();
  served.returns.await(5);
  served.pipeline.answered(served.returns.answers);
  served.pipeline.released(served.returns.done);
  CHECK(served.pipeline.under_way() == 0);
  CHECK(counted(served, Code::kOk) == 0);
  CHECK(counted(served, Code::kCancelled) == 5);
  CHECK(served.budget.used() == 0);
}

constexpr std::size_t kLarge = 12'000;  // fits a frame and a window before any SETTINGS

// Runs three requests of one stream; nothing comes back yet.
void run_three(test::OneModel& served, test::Unread& peer) {
  std::string said = test::http2_greeting() + test::http2_call(1, kStream);
  for (int count = 0; count < 3; ++count)
    said += test::http2_part(1, test::text_request(std::string(kLarge, 'x')));
  CHECK(peer.session.feed(wire::as_bytes(said)));
  served.pipeline.run_batches();
  CHECK(served.pipeline.under_way() == 3);
  served.returns.await(3);
  std::ranges::sort(served.returns.answers, {}, &engine::Request::sequence);
}

void hand_back(test::OneModel& served, std::size_t first, std::size_t count) {
  const auto some = std::span(served.returns.answers).subspan(first, count);
  served.pipeline.answered(some);
  served.pipeline.released(some);
}

void answers_that_wait_for_an_earlier_one_are_charged(const test::Environment& given) {
  test::OneModel served(given);
  {
    test::Unread peer(served.pipeline, served.budget);
    run_three(served, peer);
    hand_back(served, 1, 2);
    CHECK(peer.session.find(1)->unsent() == 0);
    CHECK(served.budget.used() > 3 * kLarge);  // a request, two answers
    hand_back(served, 0, 1);
    CHECK(peer.session.find(1)->unsent() > 3 * kLarge);
    CHECK(served.budget.used() < 4 * kLarge);  // none of them twice
    peer.session.abandon();
  }
  CHECK(served.budget.used() == 0);
}

void too_many_of_them_end_the_stream(const test::Environment& given) {
  test::OneModel served(given);
  {
    test::Unread peer(served.pipeline, served.budget, {.max_connection_bytes = 5 * kLarge});
    run_three(served, peer);
    wire::Reservation others;
    others.charge(peer.session.budget(), 10 * kLarge);
    hand_back(served, 1, 1);
    CHECK(peer.session.find(1)->done());
    hand_back(served, 2, 1);
    hand_back(served, 0, 1);
    others.release();
    CHECK(served.budget.used() < kLarge);
    peer.session.abandon();
  }
  CHECK(served.budget.used() == 0);
}

void they_are_let_go_of_with_their_stream(const test::Environment& given) {
  test::OneModel served(given);
  {
    test::Unread peer(served.pipeline, served.budget);
    run_three(served, peer);
    hand_back(served, 1, 2);
    peer.session.abandon();
    CHECK(served.budget.used() > kLarge);
    CHECK(served.budget.used() < 2 * kLarge);  // the first request
    hand_back(served, 0, 1);
  }
  CHECK(served.budget.used() == 0);
}

}  // namespace

int main(int argc, char** argv) {
  const test::Environment given(argc, argv);
  a_deadline_past_the_end_of_time_is_none(given);
  what_a_cancelled_stream_asked_for_is_not_run(given);
  answers_that_wait_for_an_earlier_one_are_charged(given);
  too_many_of_them_end_the_stream(given);
  they_are_let_go_of_with_their_stream(given);
  std::puts("ok");
}
