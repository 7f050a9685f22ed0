// The prediction id: a sealed record of what was predicted, kept by the client instead of by a store.
//
// Layout, little-endian, before base64url without padding (RFC 4648 section 5):
//   offset  bytes  field
//        0      1  layout version, 1
//        1      1  key id
//        2      8  first 8 bytes of the bundle id
//       10      4  epoch of the route (its low 32 bits)
//       14      8  boot: replica and boot id
//       22      2  shard
//       24      6  sequence, 48 bits, a boot and shard
//       30      4  Unix seconds of the prediction
//       34      2  slice id, of src/kedge/bundle/slices.py; 0 for none
//       36      3  bits 0-3 arm, bits 4-23 the low 20 bits of the sticky-key hash; without a key
//                      0, or bits that the rows of one request share
//       39      1  low 4 bits kind (0 none, 1 value, 2 class); high 4 bits n, the probabilities that follow
//       (0 to 8) 40         kind 1: value, lower, upper as float64 (24; NaN, NaN for no interval)
//                  kind 2: class as u16 (2), then n probabilities as u16, p = u / 65535 (2 n)
//      end      8  SipHash-2-4 of all bytes before it, under the key the key id names
// At most 72 bytes, so 96 characters.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "base/status.hpp"
#include "wire/siphash.hpp"

namespace kedge::wire {

struct PredictedValue {
  double value;
  double lower;  // NaN: no interval
  double upper;
  bool operator==(const PredictedValue&) const = default;
};

struct PredictedClass {
  std::uint16_t label = 0;                          // index of the predicted class
  std::uint8_t count = 0;                           // probabilities kept, of the first classes
  std::array<std::uint16_t, 8> probabilities = {};  // p = u / 65535
  bool operator==(const PredictedClass&) const = default;
};

using Predicted = std::variant<std::monostate, PredictedValue, PredictedClass>;

struct Prediction {
  std::array<std::uint8_t, 8> bundle = {};
  std::uint32_t epoch = 0;
  std::uint64_t boot = 0;
  std::uint16_t shard = 0;
  std::uint64_t sequence = 0;  // 48 bits
  std::uint32_t seconds = 0;
  std::uint16_t slice = 0;
  std::uint8_t arm = 0;        // kedge.plane.contract.Arm, below 16
  std::uint32_t key_bits = 0;  // 20 bits
  Predicted predicted;
  bool operator==(const Prediction&) const = default;
};

struct TokenKey {
  std::uint8_t id = 0;
  SipKey secret = {};
};

// A probability in [0, 1] as the token keeps it; NaN and values outside are clamped.
std::uint16_t quantize_probability(double p);

// Characters of a token, without an allocation.
class TokenText {
 public:
  [[nodiscard]] std::string_view view() const { return {chars_.data(), size_}; }

 private:
  friend class TokenSealer;
  std::array<char, 96> chars_;
  std::uint8_t size_ = 0;
};

// Seals what one writer predicts under one key, for one bundle, epoch and boot. These make up the first 24
// bytes, which are hashed and written as text once.
class TokenSealer {
 public:
  // `origin` says bundle, epoch, boot and shard; its other fields do not matter.
  TokenSealer(const TokenKey& key, const Prediction& origin);
  // Bundle, epoch, boot and shard of `prediction` are taken to be the origin's.
  [[nodiscard]] TokenText seal(const Prediction& prediction) const;

 private:
  static constexpr std::size_t origin_bytes = 24;  // whole words of the hash, whole groups of the text

  SipHash hash_;
  std::array<char, origin_bytes / 3 * 4> chars_;
};

// INVALID_ARGUMENT: not a token, an unknown layout, or a tag that does not fit; UNAUTHENTICATED is not used,
// so that a forger learns nothing. NOT_FOUND: its key id is not among `keys` (expired). The tag is compared
// in constant time.
Result<Prediction> decode_token(std::string_view text, std::span<const TokenKey> keys);

}  // namespace kedge::wire
