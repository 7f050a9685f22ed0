#include "engine/unit_filter.hpp"

#include <limits>

namespace kedge::engine {
namespace {

constexpr std::uint64_t kNoPeriod = std::numeric_limits<std::uint64_t>::max();

}  // namespace

UnitFilter::UnitFilter() : period_(kNoPeriod), words_(std::make_unique<Word[]>(kWords * (1 + kEventKinds))) {}

Unit UnitFilter::enter(std::uint64_t draw, std::uint64_t period) {
  const Unit unit{Unit::Kind::keyed, static_cast<std::uint32_t>(draw % kBits), period};
  const std::uint64_t now = period_.load(std::memory_order_acquire);
  if (now != period) {
    // Another thread's clock was read across the boundary before this one's.
    if (now != kNoPeriod && period + 1 == now) return unit;
    begin(period);
  }
  return unit;
}

bool UnitFilter::first_request(const Unit& unit) { return first_of(unit, 0); }

bool UnitFilter::first_event(const Unit& unit, EventKind kind) {
  return first_of(unit, 1 + static_cast<std::size_t>(kind));
}

bool UnitFilter::first_of(const Unit& unit, std::size_t bitmap) {
  if (unit.kind == Unit::Kind::own) return true;
  if (unit.kind == Unit::Kind::none || period_.load(std::memory_order_acquire) != unit.period) return false;
  return set(bitmap, unit.place);
}

// Whether the bit was not set. Reads first: a heavy user's line then stays shared among the cores.
bool UnitFilter::set(std::size_t bitmap, std::uint32_t place) {
  Word& word = words_[bitmap * kWords + place / 64];
  const std::uint64_t bit = std::uint64_t{1} << (place % 64);
  if ((word.load(std::memory_order_relaxed) & bit) != 0) return false;
  return (word.fetch_or(bit, std::memory_order_relaxed) & bit) == 0;
}

void UnitFilter::begin(std::uint64_t period) {
  const std::lock_guard lock(clearing_);
  if (period_.load(std::memory_order_relaxed) == period) return;
  for (std::size_t i = 0; i < kWords * (1 + kEventKinds); ++i) words_[i].store(0, std::memory_order_relaxed);
  period_.store(period, std::memory_order_release);
}

}  // namespace kedge::engine
