// Views of bytes and text that the wire passes around.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace kedge::wire {

using Bytes = std::span<const std::uint8_t>;

// The same bytes, as characters.
inline std::string_view as_text(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// The same characters, as bytes.
inline Bytes as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

}  // namespace kedge::wire
