// ModelInferRequest decoded into views of the message it came in: nothing is copied, so the message must
// outlive them. Two steps, so that the model's own checks (unknown input, datatype, shape) come between:
// `decode` judges the form, `check_data` the elements. Field numbers: protos/inference/grpc_service.proto.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/limits.hpp"
#include "base/status.hpp"
#include "wire/bytes.hpp"
#include "wire/dtype.hpp"

namespace kedge::wire {

struct Shape {
  std::array<std::int64_t, limits::max_dimensions> values;  // the first `rank` are set
  std::uint8_t rank = 0;

  [[nodiscard]] std::span<const std::int64_t> dims() const { return {values.data(), rank}; }
};

// Tensor parameters that ask for what is not served; refused by `check_data`.
enum class RefusedParameter : std::uint8_t { none, shared_memory, classification };

// One input tensor.
struct InputView {
  std::string_view name;
  std::string_view datatype;     // as sent
  DType dtype = DType::unknown;  // unknown: `datatype` names no type
  Shape shape;
  RefusedParameter refused = RefusedParameter::none;
  bool has_contents = false;
  Bytes contents;  // typed form: the InferTensorContents message

  // Set by check_data.
  std::int64_t elements = 0;
  // Row-major little-endian elements as they lie in the message: raw form, or packed FP32 and FP64 contents.
  // Not aligned to the element. BYTES in raw form: per element a 4-byte little-endian length, then the bytes.
  Bytes raw;
  bool in_place = false;  // `raw` holds the elements; else `copy_elements` converts them

  // Bytes `copy_elements` writes; not for BYTES.
  [[nodiscard]] std::size_t byte_size() const {
    return static_cast<std::size_t>(elements) * info(dtype).size;
  }
};

struct OutputRequest {
  std::string_view name;
  RefusedParameter refused = RefusedParameter::none;
};

struct InferRequest {
  std::string_view model_name;
  std::string_view model_version;  // empty: what the route says
  std::string_view id;
  std::vector<InputView> inputs;           // in the request's order; names distinct after check_data
  std::vector<OutputRequest> outputs;      // asked for; empty: all; names distinct after check_data
  std::vector<Bytes> raw_contents;         // raw_input_contents
  std::optional<std::string_view> key;     // parameter kedge_key
  std::optional<std::int64_t> timeout_us;  // parameter timeout, microseconds from now
  bool confidence = false;                 // parameter kedge_confidence
  bool final_response = false;             // parameter triton_enable_empty_final_response was given

  // The data came in raw form, so the answer is raw too.
  [[nodiscard]] bool raw() const { return !raw_contents.empty(); }
  // Forgets the content, keeps the vectors' memory: decode again into the same object to allocate nothing.
  void clear();
};

// Clears `out`, then decodes the message and checks its form, limits and parameters. INVALID_ARGUMENT
// otherwise; `out` then holds what was read so far.
Status decode(Bytes message, InferRequest& out);

// Checks everything else that can be judged without the model: tensor parameters, distinct names, datatypes,
// raw against typed, counts and sizes, BYTES lengths, ranges; sets `elements`, `raw` and `in_place` of every
// input. INVALID_ARGUMENT, naming input, model, expected and got.
Status check_data(InferRequest& request);

// "for input 'X' for model 'm'": how errors name an input.
std::string where(const InputView& input, const InferRequest& request);

// The id of a request that may be broken, as far as it can be found; to answer a bad message of a stream.
std::string_view find_id(Bytes message);

// After check_data: writes `input.byte_size()` bytes, the elements, row-major little-endian. Not for BYTES.
void copy_elements(const InputView& input, std::uint8_t* to);

// After check_data: the elements of a BYTES input, in order; `to` has room for `input.elements` views into
// the message.
void bytes_elements(const InputView& input, std::string_view* to);

}  // namespace kedge::wire
