// Protobuf's wire format written straight into memory that was measured first.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "wire/proto_reader.hpp"

namespace kedge::wire {

constexpr std::size_t varint_size(std::uint64_t value) {
  return (static_cast<std::size_t>(std::bit_width(value | 1)) + 6) / 7;
}

// Size of a length-delimited field with a one-byte tag, as all fields below number 16 have.
constexpr std::size_t bytes_field_size(std::size_t content) { return 1 + varint_size(content) + content; }

class ProtoWriter {
 public:
  explicit ProtoWriter(std::uint8_t* to) : at_(to) {}

  void varint(std::uint64_t value) {
    while (value >= 0x80) {
      *at_++ = static_cast<std::uint8_t>(value | 0x80);
      value >>= 7;
    }
    *at_++ = static_cast<std::uint8_t>(value);
  }
  void tag(std::uint32_t field, WireType type) { varint(wire::tag(field, type)); }
  // Tag and length of a field whose `size` bytes follow.
  void header(std::uint32_t field, std::size_t size) {
    tag(field, WireType::bytes);
    varint(size);
  }
  void bytes(std::uint32_t field, Bytes content) {
    header(field, content.size());
    append(content);
  }
  void text(std::uint32_t field, std::string_view content) { bytes(field, as_bytes(content)); }
  void append(Bytes content) {
    if (content.empty()) return;
    std::memcpy(at_, content.data(), content.size());
    at_ += content.size();
  }
  void fixed64(std::uint64_t value) {
    std::memcpy(at_, &value, sizeof value);
    at_ += sizeof value;
  }
  [[nodiscard]] const std::uint8_t* at() const { return at_; }

 private:
  std::uint8_t* at_;
};

}  // namespace kedge::wire
