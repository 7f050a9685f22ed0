// A bundle that runs beside the one that answers, on a thread of its own, and answers nobody.
#pragma once

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/observer.hpp"
#include "engine/shadow_port.hpp"

namespace kedge::engine {

class Shadow {
 public:
  explicit Shadow(std::shared_ptr<Model> model);
  ~Shadow();  // stops
  Shadow(const Shadow&) = delete;
  Shadow& operator=(const Shadow&) = delete;

  // --- called by the control plane ---
  // Starts the thread, or keeps it from ending.
  void open();
  // The thread ends once nothing waits for it.
  void close();
  bool ended();
  // Ends the thread after what it runs; what waits is counted as dropped.
  void stop();
  // Calls `task` with the shadow's counts, between two batches.
  std::future<void> post(const std::function<void(Observer&)>& task);

  // --- called by writers ---
  // A queue to it. Once a writer and route: this one locks, for a moment.
  std::shared_ptr<ShadowQueue> connect(const std::shared_ptr<const ShadowRoute>& route);
  void wake_if_asleep() {
    if (asleep_.load(std::memory_order_seq_cst) && asleep_.exchange(false)) wake();
  }

 private:
  struct Source {
    std::shared_ptr<ShadowQueue> queue;
    std::shared_ptr<const Target> as;
    std::weak_ptr<const ShadowRoute> route;
  };
  struct Waiting {
    std::shared_ptr<const Target> as;
    std::vector<std::unique_ptr<ShadowItem>> items;
    std::int64_t rows = 0;
  };
  void wake();
  void work();
  void sleep();
  bool between_batches();
  void run_tasks();
  void fold();
  bool nothing_waits() const;
  Waiting take();
  bool joins(const Waiting& waiting, const ShadowItem& item) const;
  void run(const Waiting& waiting, Lane& lane);
  bool attempt(const Waiting& waiting, std::span<const std::unique_ptr<ShadowItem>> items, Lane& lane);

  std::shared_ptr<Model> model_;
  int wake_ = -1;
  std::atomic<bool> asleep_{false};
  std::atomic<bool> called_{false};  // something under a mutex has changed

  std::mutex connecting_;          // apart, for a writer must never wait for what the control plane asks
  std::vector<Source> connected_;  // since the thread last looked

  std::mutex mutex_;
  bool open_ = false;
  bool stopping_ = false;
  bool running_ = false;
  std::vector<std::packaged_task<void(Observer&)>> tasks_;

  // The thread's while it runs, else under `mutex_`.
  std::vector<Source> sources_;
  std::size_t next_source_ = 0;
  Observer observer_;
  std::vector<std::unique_ptr<Request>> carriers_;  // what a lane gathers from
  std::vector<Request*> carried_;
  std::vector<std::int64_t> queue_ns_;
  std::thread thread_;
};

}  // namespace kedge::engine
