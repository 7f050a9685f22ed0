// One thread of the generator: its own connections, its own share of the schedule, its own counts.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <random>
#include <vector>

#include "load/connection.hpp"
#include "load/options.hpp"
#include "load/tally.hpp"

namespace kedge::load {

// Nanoseconds of the monotonic clock.
std::int64_t clock_ns();

// Counts so far, for a progress bar.
struct Progress {
  std::uint64_t planned = 0;
  std::uint64_t ok = 0;
  std::uint64_t not_ok = 0;
};

class Worker final : private SessionEvents {
 public:
  // The `index`-th of `count`.
  Worker(const Options& options, std::uint32_t index, std::uint32_t count);
  ~Worker() override;
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // --- on its thread, in this order ---
  // Connects; UNAVAILABLE, saying why, where one connection cannot be had.
  Status open();
  // Sends and waits until all is done.
  void run(std::int64_t start_ns);

  // --- by any thread ---
  void stop() { stopping_.store(true, std::memory_order_relaxed); }
  [[nodiscard]] Progress progress() const;
  // Samples since the last time.
  std::vector<Sample> take_samples();

  // After `run`.
  [[nodiscard]] const Tally& tally() const { return tally_; }
  // How long a stretch of the series is.
  [[nodiscard]] std::int64_t interval_ns() const { return interval_ns_; }

 private:
  struct Due {
    std::int64_t intended_ns;  // from the start
    std::uint64_t number;
  };

  void message(Exchange& exchange, wire::Bytes bytes) override;
  void closed(Exchange& exchange, End end) override;

  void plan(std::int64_t now);
  void fill_open(std::int64_t now);
  void fill_closed(std::int64_t now);
  bool send(Connection& connection, const Due& due, std::int64_t now);
  Connection* with_room();
  void wait(std::int64_t now);
  void turn(int timeout_ms);
  void flush(std::int64_t now);
  void care(std::int64_t now);
  void finish();
  void fail(Failure failure, std::int64_t now);
  void answered(Exchange& exchange, std::int64_t now);
  [[nodiscard]] bool any_left() const;
  Interval& interval(std::int64_t now);

  const Options& options_;
  const std::uint64_t first_message_;
  const std::uint64_t most_requests_;  // of this thread
  const std::int64_t interval_ns_;
  Arrivals arrivals_;
  int epoll_ = -1;
  int timer_ = -1;
  std::int64_t timer_at_ = 0;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::size_t next_connection_ = 0;
  std::vector<std::uint8_t> scratch_;

  std::int64_t start_ns_ = 0;
  std::int64_t next_ns_ = 0;  // of the schedule, from the start
  std::int64_t planned_until_ns_ = 0;
  bool planning_ = true;
  bool ending_ = false;
  std::uint64_t open_ = 0;
  std::uint64_t not_ok_ = 0;
  std::deque<Due> backlog_;
  std::uint64_t waited_from_ = 0;  // requests from this number on were not yet counted as waiting
  Tally tally_;

  std::atomic<bool> stopping_{false};
  std::atomic<std::uint64_t> shown_planned_{0};
  std::atomic<std::uint64_t> shown_ok_{0};
  std::atomic<std::uint64_t> shown_not_ok_{0};
  std::mt19937_64 sampling_;
  std::mutex samples_mutex_;
  std::vector<Sample> samples_;
};

}  // namespace kedge::load
