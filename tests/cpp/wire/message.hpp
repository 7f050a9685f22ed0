// Builds protobuf messages field by field, good and bad ones.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace kedge::wire::test {

inline std::string varint(std::uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  return out += static_cast<char>(value);
}

inline std::string number(int field, std::uint64_t value) {
  return varint(static_cast<std::uint64_t>(field) << 3) + varint(value);
}

inline std::string bytes(int field, std::string_view content) {
  return varint(static_cast<std::uint64_t>(field) << 3 | 2) + varint(content.size()) + std::string(content);
}

inline std::string input(std::string_view name, std::string_view datatype,
                         const std::vector<std::int64_t>& shape, std::string_view rest = "") {
  std::string extents;
  for (const std::int64_t extent : shape) extents += varint(static_cast<std::uint64_t>(extent));
  return bytes(5, bytes(1, name) + bytes(2, datatype) + bytes(3, extents) + std::string(rest));
}

// A map entry of InferParameter; `value` is the InferParameter's content.
inline std::string parameter(int field, std::string_view name, std::string_view value) {
  return bytes(field, bytes(1, name) + bytes(2, value));
}

}  // namespace kedge::wire::test
