#include "wire/grpc_text.hpp"

#include <cstdint>

#include "base/limits.hpp"

namespace kedge::wire {

bool is_grpc_content_type(std::string_view value) {
  constexpr std::string_view base = "application/grpc";
  if (!value.starts_with(base)) return false;
  value.remove_prefix(base.size());
  constexpr std::string_view proto = "+proto";
  if (value.starts_with(proto)) value.remove_prefix(proto.size());
  return value.empty() || value.front() == ';';
}

std::optional<std::chrono::nanoseconds> parse_grpc_timeout(std::string_view value) {
  constexpr std::size_t max_digits = 8;
  if (value.size() < 2 || value.size() > max_digits + 1) return std::nullopt;
  std::int64_t count = 0;
  for (const char digit : value.substr(0, value.size() - 1)) {
    if (digit < '0' || digit > '9') return std::nullopt;
    count = count * 10 + (digit - '0');
  }
  // 99,999,999 hours are 3.6e20 ns; what passes 2^63 waits as long as can be said.
  constexpr std::int64_t most = std::chrono::nanoseconds::max().count();
  std::int64_t unit = 0;
  switch (value.back()) {
    case 'H':
      unit = 3'600'000'000'000;
      break;
    case 'M':
      unit = 60'000'000'000;
      break;
    case 'S':
      unit = 1'000'000'000;
      break;
    case 'm':
      unit = 1'000'000;
      break;
    case 'u':
      unit = 1'000;
      break;
    case 'n':
      unit = 1;
      break;
    default:
      return std::nullopt;
  }
  if (count > most / unit) return std::chrono::nanoseconds::max();
  return std::chrono::nanoseconds(count * unit);
}

std::string encode_grpc_message(std::string_view text) {
  std::size_t end = text.size();
  if (end > limits::max_status_message_bytes) {
    end = limits::max_status_message_bytes;
    // Not through a UTF-8 character: continuation bytes are 10xxxxxx.
    while (end > 0 && (static_cast<std::uint8_t>(text[end]) & 0xC0) == 0x80) --end;
  }
  constexpr std::string_view hex = "0123456789ABCDEF";
  std::string encoded;
  encoded.reserve(end);
  for (const char c : text.substr(0, end)) {
    if (c >= ' ' && c <= '~' && c != '%') {
      encoded.push_back(c);
    } else {
      const auto byte = static_cast<std::uint8_t>(c);
      encoded.push_back('%');
      encoded.push_back(hex[byte >> 4]);
      encoded.push_back(hex[byte & 15]);
    }
  }
  return encoded;
}

}  // namespace kedge::wire
