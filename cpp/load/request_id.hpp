// The id that every request carries: eight hexadecimal digits, written in front of a message that was
// serialised without.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "load/client_session.hpp"
#include "wire/frame.hpp"

namespace kedge::load {

inline constexpr std::size_t id_digits = 8;
inline constexpr std::size_t id_at = 7;  // after gRPC's prefix, tag and length

// gRPC's prefix, then field 3 of the message, the id: eight hexadecimal digits.
inline void write_prefix(Ask& ask) {
  constexpr std::uint8_t id_tag = 0x1a;
  const std::size_t size = 2 + id_digits + ask.rest.size();
  std::uint8_t* const to = ask.prefix.data();
  wire::write_frame_prefix(to, size);
  to[5] = id_tag;
  to[6] = id_digits;
  for (std::size_t at = 0; at < id_digits; ++at) {
    to[id_at + at] = static_cast<std::uint8_t>("0123456789abcdef"[ask.id >> (4 * (id_digits - 1 - at)) & 15]);
  }
  ask.prefix_bytes = id_at + id_digits;
}

// The id in such a prefix.
inline std::string_view id_of(const Ask& ask) {
  return wire::as_text({ask.prefix.data() + id_at, id_digits});
}

}  // namespace kedge::load
