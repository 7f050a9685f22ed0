// What a gRPC client says, as bytes: HTTP/2 written by hand, so that a test decides what is sent and what
// never is.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace kedge::test {

inline std::string http2_frame(std::uint8_t type, std::uint8_t flags, std::uint32_t stream,
                               std::string_view payload) {
  std::string bytes;
  for (int shift = 16; shift >= 0; shift -= 8) bytes += static_cast<char>(payload.size() >> shift);
  bytes += static_cast<char>(type);
  bytes += static_cast<char>(flags);
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(stream >> shift);
  return bytes += payload;
}

// The client's greeting.
inline std::string http2_greeting() { return "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + http2_frame(4, 0, 0, ""); }

// The headers of a call, whose body is to follow; `timeout` is its grpc-timeout, if any. RFC 7541: indexed
// fields, and literals that are not indexed.
inline std::string http2_call(std::uint32_t stream, std::string_view path, std::string_view timeout = {}) {
  constexpr std::string_view content = "application/grpc";
  std::string block = "\x83\x86";  // POST, http
  block += "\x01\x01x";            // :authority
  block += '\x04';                 // :path
  block += static_cast<char>(path.size());
  block += path;
  block += "\x0f\x10";  // content-type
  block += static_cast<char>(content.size());
  block += content;
  if (!timeout.empty()) {
    constexpr std::string_view name = "grpc-timeout";
    block += '\0';
    block += static_cast<char>(name.size());
    block += name;
    block += static_cast<char>(timeout.size());
    block += timeout;
  }
  constexpr std::uint8_t end_headers = 4;
  return http2_frame(1, end_headers, stream, block);
}

// A part of a call's body, with more to come.
inline std::string http2_part(std::uint32_t stream, std::string_view body) {
  return http2_frame(0, 0, stream, body);
}

// The whole body of a call.
inline std::string http2_body(std::uint32_t stream, std::string_view body) {
  constexpr std::uint8_t end_stream = 1;
  return http2_frame(0, end_stream, stream, body);
}

}  // namespace kedge::test
