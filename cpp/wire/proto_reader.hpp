// A reader of protobuf's wire format over borrowed bytes. https://protobuf.dev/programming-guides/encoding
#pragma once

#include <cstdint>
#include <cstring>

#include "wire/bytes.hpp"

namespace kedge::wire {

enum class WireType : std::uint8_t {
  varint = 0,
  fixed64 = 1,
  bytes = 2,
  group = 3,
  end_group = 4,
  fixed32 = 5
};

// A tag as it is on the wire: known fields are matched by number and type at once, because a known number
// with another type is an unknown field.
constexpr std::uint32_t tag(std::uint32_t field, WireType type) {
  return field << 3 | static_cast<std::uint32_t>(type);
}

class ProtoReader {
 public:
  explicit ProtoReader(Bytes bytes) : at_(bytes.data()), end_(bytes.data() + bytes.size()) {}

  // The next field's tag; 0 at the end or when the bytes are malformed (`ok` tells which).
  std::uint32_t next() {
    if (at_ == end_) return 0;
    std::uint64_t value = *at_;
    if (value < 0x80) {
      ++at_;
    } else {
      const std::uint8_t* const start = at_;
      value = varint();
      constexpr std::ptrdiff_t max_tag_bytes = 5;
      if (at_ - start > max_tag_bytes) return broken();
    }
    // Field number 0 is illegal, and numbers have 29 bits.
    if (!ok_ || value < 8 || value > 0xFFFFFFFF) return broken();
    return static_cast<std::uint32_t>(value);
  }

  std::uint64_t varint() {
    if (at_ != end_ && *at_ < 0x80) return *at_++;
    return long_varint();
  }
  std::uint32_t fixed32() { return fixed<std::uint32_t>(); }
  std::uint64_t fixed64() { return fixed<std::uint64_t>(); }

  // A length-delimited field's content.
  Bytes bytes() {
    const std::uint64_t size = varint();
    if (!ok_ || size > static_cast<std::uint64_t>(end_ - at_)) {
      broken();
      return {};
    }
    const Bytes content(at_, static_cast<std::size_t>(size));
    at_ += size;
    return content;
  }
  std::string_view text() { return as_text(bytes()); }

  // Passes over an unknown field whose tag was just read; groups to a bounded depth.
  void skip(std::uint32_t field_tag);

  // No malformed byte so far.
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] bool at_end() const { return at_ == end_; }

 private:
  template <class T>
  T fixed() {
    T value = 0;
    if (static_cast<std::size_t>(end_ - at_) < sizeof value) return broken();
    std::memcpy(&value, at_, sizeof value);
    at_ += sizeof value;
    return value;
  }
  std::uint64_t long_varint();
  void skip_one(std::uint32_t field_tag);
  void skip_group(std::uint32_t field);
  std::uint32_t broken() {
    ok_ = false;
    at_ = end_;
    return 0;
  }

  const std::uint8_t* at_;
  const std::uint8_t* end_;
  bool ok_ = true;
};

// Strict UTF-8 (no overlong forms, no surrogates), as protobuf demands of every string.
bool is_utf8_any(std::string_view text);

// The same, with a short cut for the short ASCII names that requests are full of.
inline bool is_utf8(std::string_view text) {
  constexpr std::uint64_t high_bits = 0x8080808080808080;
  constexpr std::size_t word = sizeof(std::uint64_t);
  if (text.size() >= word && text.size() <= 2 * word) {
    std::uint64_t first = 0;
    std::uint64_t last = 0;
    std::memcpy(&first, text.data(), word);
    std::memcpy(&last, text.data() + text.size() - word, word);
    if (((first | last) & high_bits) == 0) return true;
  } else if (text.size() < word) {
    unsigned all = 0;
    for (const char c : text) all |= static_cast<std::uint8_t>(c);
    if (all < 0x80) return true;
  }
  return is_utf8_any(text);
}

}  // namespace kedge::wire
