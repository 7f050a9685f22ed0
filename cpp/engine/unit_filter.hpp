// Which requests are the first of their unit: a unit counts once for each counter in a period.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>

namespace kedge::engine {

// Values are positions in kedge.plane.evidence.KINDS.
enum class EventKind : std::uint8_t { errors, timeouts, refusals, invalid, slow };
inline constexpr std::size_t kEventKinds = 5;

// What a request is to the comparison of arms.
struct Unit {
  enum class Kind : std::uint8_t { none, own, keyed } kind = Kind::none;  // none: not drawn
  std::uint32_t place = 0;                                                // of a key, in the filter's bitmaps
  std::uint64_t period = 0;                                               // in which it was drawn
};

// The unit of a request drawn without a key.
constexpr Unit own_unit() { return {Unit::Kind::own, 0, 0}; }

// The keys of one period that each counter has seen, for one rollout (a model and a salt); used by every
// writer at once. Two keys that share a bit count as one: that loses power, never validity. A bitmap a
// counter rather than a set of keys: its size is the same for ten keys and for ten million.
class UnitFilter {
 public:
  static constexpr std::size_t kBits = std::size_t{1} << 20U;

  UnitFilter();

  // A keyed request drawn in a period, seconds since 1970 / sticky_for, by the hash that chose its arm: that
  // is told by the high bits, and the low ones, independent of those, are the key's place here. The first
  // request of a new period clears what the last had seen.
  Unit enter(std::uint64_t draw, std::uint64_t period);
  // Whether a unit had no request that was answered yet in its period. False for a period that is over. Asked
  // when one is answered: a request that its caller gave up must not stand for its unit.
  bool first_request(const Unit& unit);
  // Whether a unit had no event of this kind yet in its period. False for a period that is over.
  bool first_event(const Unit& unit, EventKind kind);

 private:
  using Word = std::atomic<std::uint64_t>;
  static constexpr std::size_t kWords = kBits / 64;

  bool first_of(const Unit& unit, std::size_t bitmap);
  bool set(std::size_t bitmap, std::uint32_t place);
  void begin(std::uint64_t period);

  std::atomic<std::uint64_t> period_;
  std::mutex clearing_;            // taken once a period
  std::unique_ptr<Word[]> words_;  // first requests, then a bitmap a kind
};

}  // namespace kedge::engine
