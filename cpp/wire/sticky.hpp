// Which arm a keyed request takes: SipHash-2-4 under the rollout's salt over (period, key), against
// cumulative shares. Sticky within a period, monotone as a share grows. The Python twin is
// kedge/plane/portable/route.py; both must agree exactly.
#pragma once

#include <cstdint>
#include <span>

#include "wire/siphash.hpp"

namespace kedge::wire {

// The salt of a rollout as a hash key: 16 bytes, or none for zeros (a route of any other length is refused).
SipKey sticky_key(Bytes salt);

// Hash of (period as unsigned 64-bit little-endian, key bytes). `period` is Unix seconds / sticky_for.
std::uint64_t sticky_hash(const SipKey& salt, std::string_view key, std::uint64_t period);

// The upper end of a cumulative share in [0, 1] as a threshold: hashes below it are inside.
std::uint64_t share_threshold(double cumulative_share);

// The first arm whose threshold is above `hash`; the last arm takes the rest. `thresholds` is not empty.
std::size_t pick_arm(std::uint64_t hash, std::span<const std::uint64_t> thresholds);

}  // namespace kedge::wire
