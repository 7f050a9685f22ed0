// The threads of one model for runs that would delay a shard. What waits for a thread runs as one batch.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/worker.hpp"

namespace kedge::engine {

// Takes requests back to the shard that owns them. Called by any thread.
class ReturnPort {
 public:
  virtual ~ReturnPort() = default;
  // Their answers are ready to be sent.
  virtual void answered(std::vector<Request*> requests) = 0;
  // They are counted: nobody but the shard holds them any more.
  virtual void released(std::vector<Request*> requests) = 0;
};

class ExecutorPool {
 public:
  // `ports` by shard; they and `sealing` outlive the pool.
  ExecutorPool(std::shared_ptr<Model> model, std::vector<ReturnPort*> ports, Sealing& sealing,
               std::size_t max_queue);
  // Stops after what runs; requests still waiting are answered UNAVAILABLE.
  ~ExecutorPool();
  ExecutorPool(const ExecutorPool&) = delete;
  ExecutorPool& operator=(const ExecutorPool&) = delete;

  // Why a request was not taken.
  enum class Shed : std::uint8_t {
    full,  // as many wait as may
    late,  // by the time runs have taken, its turn would come too late for its deadline
  };
  struct Refused {
    Request* request;
    Shed why;
  };
  // Takes requests of one target, and adds those it does not take to `refused`.
  void submit(const std::shared_ptr<const Target>& target, std::span<Request* const> requests,
              std::vector<Refused>& refused);
  // Gives back what waits past its deadline, of one shard's, and when the next of that shard's deadlines is;
  // 0 for none.
  struct Waiting {
    std::shared_ptr<const Target> target;
    Request* request;
  };
  std::vector<Waiting> take_expired(std::uint32_t shard, std::int64_t now, std::int64_t& next);
  // Posts `task` to every thread, to be called with its observer between two batches.
  std::vector<std::future<void>> on_each(const std::function<void(Observer&)>& task);
  // Requests taken and not released yet.
  std::size_t under_way() const { return under_way_.load(std::memory_order_acquire); }

 private:
  struct Thread {
    std::vector<std::packaged_task<void(Observer&)>> tasks;  // under `mutex_`
    std::thread thread;
  };
  void work(std::size_t index);
  bool in_time(const Request& request, std::int64_t now) const;
  void drop_hopeless(std::vector<Waiting>& dropped);
  Batch take(std::unique_lock<std::mutex>& lock, std::vector<Waiting>& dropped);
  void finish(Batch& batch, std::vector<Request*>& all, Worker& worker);
  void give_up(const std::vector<Waiting>& dropped, Worker& worker);
  void release(const std::vector<std::vector<Request*>>& parts, std::size_t count);
  std::vector<std::vector<Request*>> by_shard(const std::vector<Request*>& requests) const;

  std::shared_ptr<Model> model_;
  std::vector<ReturnPort*> ports_;
  Sealing& sealing_;
  std::size_t max_queue_;
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<Waiting> queue_;
  std::int64_t waiting_rows_ = 0;  // of `queue_`
  std::size_t running_ = 0;        // threads that run a batch
  std::int64_t run_ns_ = 0;        // moving average of the wall time of a run; 0: none yet
  std::vector<Thread> threads_;
  std::atomic<std::size_t> under_way_{0};
  bool stopping_ = false;
};

}  // namespace kedge::engine
