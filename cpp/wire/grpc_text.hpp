// The text rules of gRPC over HTTP/2: content-type, grpc-timeout, grpc-message.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace kedge::wire {

// `application/grpc` or `application/grpc+proto`, either alone or with `;parameters`. Other message formats
// (`+json`, `-web`) begin alike and are refused.
bool is_grpc_content_type(std::string_view value);

// 1 to 8 digits and a unit of H M S m u n; none if malformed.
std::optional<std::chrono::nanoseconds> parse_grpc_timeout(std::string_view value);

// Percent-encodes all but printable ASCII without `%`, cut to `limits::max_status_message_bytes` at a
// character's edge.
std::string encode_grpc_message(std::string_view text);

}  // namespace kedge::wire
