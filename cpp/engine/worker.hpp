// A thread that runs batches, be it a shard or an executor: gather, run, encode; later, observe.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "engine/encode.hpp"
#include "engine/lane.hpp"
#include "engine/observer.hpp"

namespace kedge::engine {

std::int64_t monotonic_ns();

class Worker {
 public:
  explicit Worker(Sealing& sealing) : encoder_(sealing) {}

  // Runs the batch and writes every request's answer. Expired and cancelled requests are dropped before the
  // run; if the run fails, each request runs again alone and only the guilty one fails. What ran is kept for
  // `observe`. `busy(lane)` must have been false, or the batch before it in that lane would go uncounted.
  void run(Batch& batch, Lane& lane);
  // Answers a request that is not going to run: its client is gone, or its deadline would pass meanwhile.
  void give_up(const std::shared_ptr<const Target>& target, Request& request);
  // Whether the lane still holds a batch that was not observed.
  bool busy(const Lane& lane) const;
  // Counts what ran since the last call. The requests must still live.
  void observe();

  // This thread's lane for a model.
  Lane& lane(const std::shared_ptr<Model>& model);
  // Drops the lanes of models that only this worker still holds, and folds epochs that are over.
  void tidy();
  Observer& observer() { return observer_; }

 private:
  struct Ran {
    std::shared_ptr<const Target> target;
    Lane* lane;
    std::vector<const Request*> requests;  // empty where nothing of the target is told by request
    std::vector<std::int64_t> queue_ns;
    std::int64_t run_ns;
    std::int64_t rows;
  };
  void drop_expired(Batch& batch, std::int64_t now);
  std::string attempt(const Batch& batch, std::span<Request* const> requests, std::int64_t rows, Lane& lane);
  void count(Ran& ran);
  void fail(const std::shared_ptr<const Target>& target, Request& request, Code code, std::string message);

  std::unordered_map<std::uint64_t, std::unique_ptr<Lane>> lanes_;
  std::vector<Ran> ran_;
  std::size_t ran_count_ = 0;  // entries of `ran_` in use; the rest keep their memory
  Encoder encoder_;
  Observer observer_;
};

}  // namespace kedge::engine
