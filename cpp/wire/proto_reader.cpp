#include "wire/proto_reader.hpp"

#include <array>

#include "base/limits.hpp"

namespace kedge::wire {

std::uint64_t ProtoReader::long_varint() {
  constexpr int last_shift =
      63;  // of the tenth byte; what it holds past 64 bits is dropped, as protobuf's parsers do
  std::uint64_t value = 0;
  for (int shift = 0; shift <= last_shift; shift += 7) {
    if (at_ == end_) return broken();
    const std::uint8_t byte = *at_++;
    value |= std::uint64_t{byte & 0x7Fu} << shift;
    if (byte < 0x80) return value;
  }
  return broken();
}

void ProtoReader::skip(std::uint32_t field_tag) {
  if (static_cast<WireType>(field_tag & 7) == WireType::group) {
    skip_group(field_tag >> 3);
  } else {
    skip_one(field_tag);
  }
}

void ProtoReader::skip_one(std::uint32_t field_tag) {
  switch (static_cast<WireType>(field_tag & 7)) {
    case WireType::varint:
      varint();
      return;
    case WireType::fixed64:
      fixed64();
      return;
    case WireType::bytes:
      bytes();
      return;
    case WireType::fixed32:
      fixed32();
      return;
    case WireType::group:
    case WireType::end_group:
      break;
  }
  broken();
}

void ProtoReader::skip_group(std::uint32_t field) {
  std::array<std::uint32_t, limits::max_group_depth> open;
  std::size_t depth = 0;
  open[depth++] = field;
  while (depth > 0) {
    const std::uint32_t inner = next();
    if (inner == 0) {
      broken();  // the message ended inside the group
      return;
    }
    const auto type = static_cast<WireType>(inner & 7);
    if (type == WireType::group) {
      if (depth == open.size()) {
        broken();
        return;
      }
      open[depth++] = inner >> 3;
    } else if (type == WireType::end_group) {
      if (open[--depth] != inner >> 3) {
        broken();
        return;
      }
    } else {
      skip_one(inner);
      if (!ok_) return;
    }
  }
}

bool is_utf8_any(std::string_view text) {
  const auto* at = reinterpret_cast<const std::uint8_t*>(text.data());
  const auto* const end = at + text.size();
  while (at != end) {
    if (end - at >= 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, at, sizeof word);
      if ((word & 0x8080808080808080) == 0) {
        at += 8;
        continue;
      }
    }
    const std::uint8_t lead = *at++;
    if (lead < 0x80) continue;
    int more = 0;
    std::uint8_t low = 0x80;  // bounds of the second byte, RFC 3629 section 4
    std::uint8_t high = 0xBF;
    if (lead >= 0xC2 && lead <= 0xDF) {
      more = 1;
    } else if (lead >= 0xE0 && lead <= 0xEF) {
      more = 2;
      if (lead == 0xE0) low = 0xA0;
      if (lead == 0xED) high = 0x9F;
    } else if (lead >= 0xF0 && lead <= 0xF4) {
      more = 3;
      if (lead == 0xF0) low = 0x90;
      if (lead == 0xF4) high = 0x8F;
    } else {
      return false;
    }
    for (; more > 0; --more) {
      if (at == end || *at < low || *at > high) return false;
      ++at;
      low = 0x80;
      high = 0xBF;
    }
  }
  return true;
}

}  // namespace kedge::wire
