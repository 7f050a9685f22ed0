// Where requests go: an immutable table, replaced whole by a publish.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/model.hpp"
#include "engine/unit_filter.hpp"
#include "sketch/slots.hpp"
#include "wire/sticky.hpp"

namespace kedge::engine {

// The role a bundle plays for a request; values are kedge.plane.contract.Arm.
enum class Arm : std::uint8_t { live = 0, control = 1, canary = 2, shadow = 3, pinned = 4 };

constexpr std::string_view arm_name(Arm arm) {
  constexpr std::string_view names[] = {"live", "control", "canary", "shadow", "pinned"};
  return names[static_cast<std::size_t>(arm)];
}

struct ShadowRoute;
using SlowRuns = std::array<std::int64_t, sketch::kBatchSizeBuckets>;

// What a request is picked for and counted under: (bundle, arm, epoch). Requests of one batch share it.
struct Target {
  std::shared_ptr<Model> model;
  Arm arm = Arm::live;
  std::uint64_t epoch = 0;
  std::uint32_t index = 0;  // position in its table
  std::uint64_t id = 0;     // of this target, never reused

  // What of its requests is counted beside the kernel's counts.
  // Null units: the route has one arm, or the version was asked for by name.
  std::shared_ptr<UnitFilter> units = nullptr;
  SlowRuns slow_ns{};                                   // by batch-size bucket; 0: none is slow
  std::shared_ptr<const ShadowRoute> shadow = nullptr;  // who is given the inputs of its requests too
  bool compared() const { return units != nullptr || shadow != nullptr; }
};

// What decides where one request goes.
struct Picker {
  std::string_view key;      // sticky key, or empty
  std::uint64_t random = 0;  // used without a key
  std::int64_t unix_seconds = 0;

  std::uint64_t period(std::int64_t sticky_for) const {
    return static_cast<std::uint64_t>(unix_seconds / sticky_for);
  }
};

struct Route {
  std::string model;
  std::uint64_t epoch = 0;
  std::vector<std::shared_ptr<const Target>> arms;
  std::vector<std::uint64_t> thresholds;  // of the arms, cumulative
  std::vector<std::shared_ptr<const Target>>
      by_version;  // arms that serve and pinned ones; the first match wins
  wire::SipKey salt{};
  std::int64_t sticky_for = 3600;
  std::shared_ptr<UnitFilter> units;  // of this salt; null until the route had two arms

  // Where a request falls: its key's place in the period, or at random.
  std::uint64_t draw(const Picker& picker) const;
  // The arm that answers when no version was named.
  const std::shared_ptr<const Target>& pick(std::uint64_t draw) const;
  // What the request is to the comparison of the arms; with two arms or more.
  Unit unit(const Picker& picker, std::uint64_t draw) const;
  // The target of a version, or null.
  const std::shared_ptr<const Target>* find(std::string_view version) const;
};

struct TextHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};

class RouteTable {
 public:
  std::uint64_t generation = 0;
  std::unordered_map<std::string, Route, TextHash, std::equal_to<>> routes;
  std::vector<std::shared_ptr<const Target>> targets;  // by Target::index

  const Route* find(std::string_view model) const {
    const auto found = routes.find(model);
    return found == routes.end() ? nullptr : &found->second;
  }
};

// The pointer every shard reads. A shard says which generation it picks from, or that it sleeps and will read
// the pointer before it picks again.
class RoutePointer {
 public:
  struct alignas(64) Reader {
    std::atomic<std::uint64_t> seen{0};
    std::atomic<std::int64_t> seen_ns{0};  // when it first read that generation
    std::atomic<bool> asleep{true};
  };
  explicit RoutePointer(std::size_t readers) : readers_(readers) {}

  // The reader's side. `wake` and `read` order the flag before the pointer: a publisher that finds a reader
  // asleep knows that its later read will see the new table.
  const RouteTable* read(std::size_t reader) {
    const RouteTable* table = table_.load(std::memory_order_seq_cst);
    const std::uint64_t generation = table == nullptr ? 0 : table->generation;
    Reader& mine = readers_[reader];
    if (mine.seen.load(std::memory_order_relaxed) != generation) {
      mine.seen_ns.store(now_ns(), std::memory_order_relaxed);
      mine.seen.store(generation, std::memory_order_seq_cst);
      tell();
    }
    return table;
  }
  void sleep(std::size_t reader) {
    readers_[reader].asleep.store(true, std::memory_order_seq_cst);
    tell();
  }
  void wake(std::size_t reader) { readers_[reader].asleep.store(false, std::memory_order_seq_cst); }

  // The publisher's side, one at a time.
  void store(const RouteTable* table) { table_.store(table, std::memory_order_seq_cst); }
  // Whether no reader can pick from a table before `generation`.
  bool quiescent(std::uint64_t generation) const {
    for (const Reader& reader : readers_) {
      if (reader.seen.load(std::memory_order_seq_cst) < generation &&
          !reader.asleep.load(std::memory_order_seq_cst)) {
        return false;
      }
    }
    return true;
  }
  // Blocks until no reader can pick from a table before `generation`: the core is the readers' meanwhile.
  void await(std::uint64_t generation);
  // When the last of the readers that did not sleep came to pick from `generation`; 0 if all of them slept.
  // The publisher itself may come to look much later than that.
  std::int64_t last_pick_ns(std::uint64_t generation) const {
    std::int64_t last = 0;
    for (const Reader& reader : readers_) {
      if (reader.seen.load(std::memory_order_acquire) < generation) continue;
      last = std::max(last, reader.seen_ns.load(std::memory_order_relaxed));
    }
    return last;
  }
  static std::int64_t now_ns();

 private:
  // A reader that came to a new table, or went to sleep, wakes the publisher, if one waits: else this is a
  // load. Either the reader sees `waiting_`, or the publisher, who looks again after setting it, sees the
  // reader.
  void tell() {
    if (!waiting_.load(std::memory_order_seq_cst)) return;
    told_.fetch_add(1, std::memory_order_seq_cst);
    told_.notify_one();
  }

  std::atomic<const RouteTable*> table_{nullptr};
  std::atomic<bool> waiting_{false};
  std::atomic<int> told_{0};
  std::vector<Reader> readers_;
};

}  // namespace kedge::engine
