// From a thread that answers to a shadow's: a bounded queue of copies. It drops, and counts, rather than
// delay the one who writes.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include "engine/evidence.hpp"
#include "engine/lane.hpp"

namespace kedge::engine {

class Shadow;

// How the requests of one arm go to a shadow; immutable.
struct ShadowRoute {
  std::uint64_t id = 0;  // never reused
  std::shared_ptr<Shadow> shadow;
  std::shared_ptr<const Target> as;  // what the shadow counts under
  std::uint64_t threshold = 0;       // draws below it are sampled
  bool fits = false;                 // the arm's model has every input the shadow's needs
  std::vector<std::size_t> inputs;   // of the arm's model, in the order of the shadow's

  // `arm`: who answers.
  ShadowRoute(std::uint64_t number, std::shared_ptr<Shadow> who, std::shared_ptr<const Target> target,
              double sample, const Model& arm);
};

// One request's inputs, as its own copy, and what it was answered.
struct ShadowItem {
  std::unique_ptr<std::uint8_t[]> bytes;
  std::size_t held = 0;                 // bytes of memory, about
  std::vector<wire::InputView> inputs;  // views into `bytes`, in the order of the shadow's model
  std::int64_t rows = 0;
  bool alone = false;  // its inputs have no entry a row
  RowPrediction live;  // of its first row
  std::int64_t live_ns = 0;
  std::int64_t offered_ns = 0;
};

// One writer, one reader, no locks.
class ShadowQueue {
 public:
  // A shadow that runs behind: what waits for it, a writer.
  static constexpr std::size_t kRequests = 1024;
  static constexpr std::size_t kBytes = std::size_t{16} * 1024 * 1024;

  ShadowQueue() = default;
  ~ShadowQueue();
  ShadowQueue(const ShadowQueue&) = delete;
  ShadowQueue& operator=(const ShadowQueue&) = delete;

  // The writer's side.
  bool has_room(std::size_t bytes) const;
  void push(std::unique_ptr<ShadowItem> item);
  void count_offered() { grow(offered_); }
  void count_dropped() { grow(dropped_); }
  void count_failed() { grow(failed_); }

  // The reader's side.
  const ShadowItem* front() const;  // null: none waits
  std::unique_ptr<ShadowItem> pop();
  struct Counts {
    std::int64_t offered = 0;
    std::int64_t dropped = 0;
    std::int64_t failed = 0;
  };
  // Since the last call.
  Counts take_counts();

 private:
  using Count = std::atomic<std::int64_t>;
  static void grow(Count& count) {  // one thread writes it
    count.store(count.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }

  std::array<ShadowItem*, kRequests> slots_{};
  alignas(64) std::atomic<std::size_t> written_{0};
  std::atomic<std::size_t> bytes_in_{0};
  Count offered_{0};
  Count dropped_{0};
  Count failed_{0};
  alignas(64) std::atomic<std::size_t> read_{0};
  std::atomic<std::size_t> bytes_out_{0};
  Counts taken_;
};

// One writer's queues to the shadows of the arms it answers for.
class ShadowSender {
 public:
  // Copies a sample of a batch's requests, whose inputs still lie in the lane.
  void offer(const std::shared_ptr<const ShadowRoute>& route, const Lane& lane,
             std::span<const Request* const> requests, const PredictionView& seen, std::int64_t run_ns);
  // Lets go of queues that the shadow has let go of.
  void tidy();

 private:
  struct Port {
    std::uint64_t route = 0;
    std::shared_ptr<ShadowQueue> queue;
  };
  ShadowQueue& queue(const std::shared_ptr<const ShadowRoute>& route);

  std::vector<Port> ports_;
  std::mt19937_64 random_{std::random_device{}()};
};

}  // namespace kedge::engine
