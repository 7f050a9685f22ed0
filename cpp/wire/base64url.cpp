#include "wire/base64url.hpp"

#include <array>

namespace kedge::wire {

namespace {

constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::uint8_t no_value = 0xFF;

constexpr std::array<std::uint8_t, 256> make_values() {
  std::array<std::uint8_t, 256> values = {};
  for (std::uint8_t& value : values) value = no_value;
  for (std::size_t i = 0; i < alphabet.size(); ++i) {
    values[static_cast<std::uint8_t>(alphabet[i])] = static_cast<std::uint8_t>(i);
  }
  return values;
}

constexpr std::array<std::uint8_t, 256> values = make_values();

}  // namespace

void encode_base64url(Bytes bytes, char* to) {
  for (; bytes.size() >= 3; bytes = bytes.subspan(3)) {
    const std::uint32_t group = std::uint32_t{bytes[0]} << 16 | std::uint32_t{bytes[1]} << 8 | bytes[2];
    *to++ = alphabet[group >> 18];
    *to++ = alphabet[group >> 12 & 63];
    *to++ = alphabet[group >> 6 & 63];
    *to++ = alphabet[group & 63];
  }
  std::uint32_t bits = 0;
  int count = 0;
  for (const std::uint8_t byte : bytes) {
    bits = bits << 8 | byte;
    for (count += 8; count >= 6; count -= 6) *to++ = alphabet[bits >> (count - 6) & 63];
  }
  if (count > 0) *to = alphabet[bits << (6 - count) & 63];
}

std::optional<std::size_t> decode_base64url(std::string_view text, std::uint8_t* to) {
  std::uint8_t* const start = to;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const std::uint8_t value = values[static_cast<std::uint8_t>(c)];
    if (value == no_value) return std::nullopt;
    bits = bits << 6 | value;
    count += 6;
    if (count >= 8) {
      count -= 8;
      *to++ = static_cast<std::uint8_t>(bits >> count);
    }
  }
  const bool whole_character_left = count >= 6;
  if (whole_character_left || (bits & ((1u << count) - 1)) != 0) return std::nullopt;
  return static_cast<std::size_t>(to - start);
}

}  // namespace kedge::wire
