// ModelInferResponse and ModelStreamInferResponse, encoded with their gRPC prefix in one allocation of the
// exact size.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <variant>

#include "base/status.hpp"
#include "wire/buffer.hpp"
#include "wire/dtype.hpp"

namespace kedge::wire {

struct OutputView {
  std::string_view name;
  DType dtype = DType::fp32;
  std::span<const std::int64_t> shape;
  Bytes
      data;  // row-major little-endian elements; BYTES: elements one after another, up to the last one's end
  // BYTES: where each element starts in `data` (GetStringTensorContent's form); the first may start past 0.
  std::span<const std::size_t> offsets;
};

struct ResponseParameter {
  std::string_view key;
  std::variant<bool, std::int64_t, std::string_view, double> value;
};

struct InferResponse {
  std::string_view model_name;
  std::string_view model_version;
  std::string_view id;
  std::span<const ResponseParameter> parameters;
  std::span<const OutputView> outputs;
  bool raw = true;  // false: typed contents, unless an output is FP16 or BF16, which exist only raw
  Bytes head = {};  // fields that were encoded before, by `encode_head`; they stand first
};

enum class Framing : std::uint8_t {
  unary,   // prefix, ModelInferResponse
  stream,  // prefix, ModelStreamInferResponse{infer_response}
};

// RESOURCE_EXHAUSTED if it would pass protobuf's 2 GiB.
Result<Buffer> encode(const InferResponse& response, Framing framing);

// Name, version and parameters that many answers share, as `InferResponse::head`.
Buffer encode_head(std::string_view model_name, std::string_view model_version,
                   std::span<const ResponseParameter> parameters);

// ModelStreamInferResponse{error_message, infer_response{id}}, with its prefix.
Buffer encode_stream_error(std::string_view message, std::string_view id);

}  // namespace kedge::wire
