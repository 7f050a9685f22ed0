#include "wire/siphash.hpp"

#include <bit>
#include <cstring>

namespace kedge::wire {

static_assert(std::endian::native == std::endian::little,
              "words are read as they lie; a big-endian port must swap them");

SipHash::SipHash(const SipKey& key) {
  std::uint64_t k0 = 0;
  std::uint64_t k1 = 0;
  std::memcpy(&k0, key.data(), sizeof k0);
  std::memcpy(&k1, key.data() + sizeof k0, sizeof k1);
  v0_ = k0 ^ 0x736F6D6570736575;
  v1_ = k1 ^ 0x646F72616E646F6D;
  v2_ = k0 ^ 0x6C7967656E657261;
  v3_ = k1 ^ 0x7465646279746573;
}

void SipHash::round() {
  v0_ += v1_;
  v1_ = std::rotl(v1_, 13) ^ v0_;
  v0_ = std::rotl(v0_, 32);
  v2_ += v3_;
  v3_ = std::rotl(v3_, 16) ^ v2_;
  v0_ += v3_;
  v3_ = std::rotl(v3_, 21) ^ v0_;
  v2_ += v1_;
  v1_ = std::rotl(v1_, 17) ^ v2_;
  v2_ = std::rotl(v2_, 32);
}

void SipHash::block(std::uint64_t word) {
  v3_ ^= word;
  round();
  round();
  v0_ ^= word;
}

void SipHash::update(Bytes bytes) {
  if (length_ % 8 == 0) {
    for (; bytes.size() >= sizeof tail_; bytes = bytes.subspan(sizeof tail_)) {
      std::uint64_t word = 0;
      std::memcpy(&word, bytes.data(), sizeof word);
      block(word);
      length_ += sizeof word;
    }
  }
  for (const std::uint8_t byte : bytes) {
    tail_ |= std::uint64_t{byte} << (length_ % 8 * 8);
    if (++length_ % 8 == 0) {
      block(tail_);
      tail_ = 0;
    }
  }
}

std::uint64_t SipHash::digest() {
  block(tail_ | length_ << 56);
  v2_ ^= 0xFF;
  for (int i = 0; i < 4; ++i) round();
  return v0_ ^ v1_ ^ v2_ ^ v3_;
}

std::uint64_t siphash24(const SipKey& key, Bytes bytes) {
  SipHash hash(key);
  hash.update(bytes);
  return hash.digest();
}

}  // namespace kedge::wire
