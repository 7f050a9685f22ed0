#include "wire/sticky.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

namespace kedge::wire {

namespace {
// Stands for 2^64. No smaller share rounds up to it: doubles below 2^64 are multiples of 2,048 there.
constexpr std::uint64_t whole_space = std::numeric_limits<std::uint64_t>::max();
}  // namespace

SipKey sticky_key(Bytes salt) {
  SipKey key = {};
  if (!salt.empty()) std::memcpy(key.data(), salt.data(), std::min(salt.size(), key.size()));
  return key;
}

std::uint64_t sticky_hash(const SipKey& salt, std::string_view key, std::uint64_t period) {
  std::array<std::uint8_t, sizeof period> little_endian;
  std::memcpy(little_endian.data(), &period, sizeof period);
  SipHash hash(salt);
  hash.update(little_endian);
  hash.update(as_bytes(key));
  return hash.digest();
}

std::uint64_t share_threshold(double cumulative_share) {
  if (!(cumulative_share > 0)) return 0;
  constexpr double whole = 18446744073709551616.0;  // 2^64
  const double scaled = cumulative_share * whole;
  return scaled >= whole ? whole_space : static_cast<std::uint64_t>(scaled);
}

std::size_t pick_arm(std::uint64_t hash, std::span<const std::uint64_t> thresholds) {
  std::size_t arm = 0;
  while (arm + 1 < thresholds.size() && hash >= thresholds[arm] && thresholds[arm] != whole_space) ++arm;
  return arm;
}

}  // namespace kedge::wire
