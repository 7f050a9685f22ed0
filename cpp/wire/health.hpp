// The tiny messages of liveness and readiness, answered without the Python runtime.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/status.hpp"
#include "wire/buffer.hpp"

namespace kedge::wire {

// ModelReadyRequest {name = 1, version = 2}; views into the message.
struct ModelReadyRequest {
  std::string_view name;
  std::string_view version;
};
Result<ModelReadyRequest> decode_model_ready(Bytes message);

// grpc.health.v1.HealthCheckRequest {service = 1}; a view into the message.
Result<std::string_view> decode_health_check(Bytes message);

// ServerLiveRequest, ServerReadyRequest: no fields, but well-formed unknown ones are legal.
Status decode_empty(Bytes message);

// ServerLiveResponse, ServerReadyResponse and ModelReadyResponse alike: {bool = 1}, with the gRPC prefix.
Buffer encode_bool(bool value);

enum class Serving : std::uint8_t { unknown = 0, serving = 1, not_serving = 2, service_unknown = 3 };

// grpc.health.v1.HealthCheckResponse {status = 1}, with the gRPC prefix.
Buffer encode_health(Serving status);

}  // namespace kedge::wire
