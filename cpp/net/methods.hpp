// The methods the plane answers itself; everything else is cold.
#pragma once

#include <string_view>

#include "wire/call.hpp"

namespace kedge::net {

enum class MethodTag : std::uint32_t {
  cold,
  model_infer,
  model_stream_infer,
  server_live,
  server_ready,
  model_ready,
  health_check,
};

// How a call with this path is to be received.
inline wire::Method classify(std::string_view path) {
  using wire::Cardinality;
  constexpr std::string_view kInference = "/inference.GRPCInferenceService/";
  const auto native = [](MethodTag tag, Cardinality cardinality = Cardinality::unary) {
    return wire::Method{cardinality, false, static_cast<std::uint32_t>(tag)};
  };
  if (path.starts_with(kInference)) {
    const std::string_view name = path.substr(kInference.size());
    if (name == "ModelInfer") return native(MethodTag::model_infer);
    if (name == "ModelStreamInfer") return native(MethodTag::model_stream_infer, Cardinality::streaming);
    if (name == "ServerLive") return native(MethodTag::server_live);
    if (name == "ServerReady") return native(MethodTag::server_ready);
    if (name == "ModelReady") return native(MethodTag::model_ready);
  }
  if (path == "/grpc.health.v1.Health/Check") return native(MethodTag::health_check);
  return {Cardinality::streaming, true, static_cast<std::uint32_t>(MethodTag::cold)};
}

}  // namespace kedge::net
