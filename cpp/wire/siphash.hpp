// SipHash-2-4, 64 bits out (Aumasson and Bernstein 2012): a keyed hash short inputs cannot be forged against.
#pragma once

#include <array>
#include <cstdint>

#include "wire/bytes.hpp"

namespace kedge::wire {

using SipKey = std::array<std::uint8_t, 16>;

// Incremental, so that a hash over several parts needs no joined copy.
class SipHash {
 public:
  explicit SipHash(const SipKey& key);
  void update(Bytes bytes);
  std::uint64_t digest();

 private:
  void block(std::uint64_t word);
  void round();

  std::uint64_t v0_, v1_, v2_, v3_;
  std::uint64_t tail_ = 0;  // bytes that do not fill a word yet, low end first
  std::uint64_t length_ = 0;
};

std::uint64_t siphash24(const SipKey& key, Bytes bytes);

}  // namespace kedge::wire
