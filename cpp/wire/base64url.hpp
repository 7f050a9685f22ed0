// base64url without padding, RFC 4648 section 5.
#pragma once

#include <cstdint>
#include <optional>

#include "wire/bytes.hpp"

namespace kedge::wire {

constexpr std::size_t base64url_size(std::size_t bytes) { return (bytes * 8 + 5) / 6; }

// Writes base64url_size(bytes.size()) characters.
void encode_base64url(Bytes bytes, char* to);

// Decodes into `to`, which has room for text.size() * 3 / 4 bytes, and returns how many were written. None: a
// character outside the alphabet, an impossible length, or bits left over that are not zero (so every byte
// string has one text).
std::optional<std::size_t> decode_base64url(std::string_view text, std::uint8_t* to);

}  // namespace kedge::wire
