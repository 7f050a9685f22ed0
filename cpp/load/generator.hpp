// The load generator: threads that connect, then begin together.
#pragma once

#include <condition_variable>
#include <future>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "load/worker.hpp"

namespace kedge::load {

class Generator {
 public:
  // `options.messages` is not empty, `connections`, `streams`, `threads` and one of `rate` and `closed` are
  // above 0. Throws std::runtime_error where the system has no descriptors left.
  explicit Generator(Options options);
  // Stops.
  ~Generator();
  Generator(const Generator&) = delete;
  Generator& operator=(const Generator&) = delete;

  // Once. Connects and begins; not OK: why that failed, and nothing was sent.
  Status start();
  // Waits so long at most; true once all threads are done.
  bool wait(double seconds);
  // Plans no more requests, and gives those on their way a second.
  void stop();
  [[nodiscard]] Progress progress() const;
  std::vector<Sample> take_samples();
  // After the end: all threads together.
  [[nodiscard]] Tally tally() const;
  [[nodiscard]] double interval_seconds() const;

 private:
  void join();

  const Options options_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t running_ = 0;  // under mutex_
  std::vector<std::thread> threads_;
};

}  // namespace kedge::load
