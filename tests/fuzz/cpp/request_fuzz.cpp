// Request messages: whatever is decoded lies inside the message, has the size it claims, and survives being
// answered.
#include <string>
#include <vector>

#include "check.hpp"
#include "wire/frame.hpp"
#include "wire/health.hpp"
#include "wire/infer_request.hpp"
#include "wire/infer_response.hpp"
#include "wire/proto_reader.hpp"

using namespace kedge;
using namespace kedge::wire;

namespace {

void demand_inside(Bytes part, Bytes whole) {
  KEDGE_DEMAND(part.empty() ||
               (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size()));
}

// The elements in the form an answer takes: raw bytes, or one run of strings with their starts.
struct Elements {
  std::string data;
  std::vector<std::size_t> offsets;
};

Elements read_elements(const InputView& input, Bytes message) {
  Elements out;
  if (input.dtype != DType::bytes) {
    out.data.resize(input.byte_size());
    if (!out.data.empty()) copy_elements(input, reinterpret_cast<std::uint8_t*>(out.data.data()));
    return out;
  }
  std::vector<std::string_view> views(static_cast<std::size_t>(input.elements));
  bytes_elements(input, views.data());
  for (const std::string_view view : views) {
    demand_inside(as_bytes(view), message);
    out.offsets.push_back(out.data.size());
    out.data += view;
  }
  return out;
}

// Echoes the inputs as outputs and demands that the answer, read as the request it mirrors, has the same
// elements.
void echo(const InferRequest& request, Bytes message) {
  std::vector<Elements> elements;
  for (const InputView& input : request.inputs) elements.push_back(read_elements(input, message));
  std::vector<OutputView> outputs;
  for (std::size_t i = 0; i < elements.size(); ++i) {
    const InputView& input = request.inputs[i];
    outputs.push_back(
        {input.name, input.dtype, input.shape.dims(), as_bytes(elements[i].data), elements[i].offsets});
  }
  const ResponseParameter id[] = {{"kedge_prediction_id", request.id}};
  const Buffer head = encode_head(request.model_name, request.model_version, id);
  const InferResponse response = {{}, {}, request.id, id, outputs, request.raw(), head.view()};
  const Result<Buffer> encoded = encode(response, Framing::unary);
  KEDGE_DEMAND(encoded.ok());
  // Outputs are field 5 like inputs; raw_output_contents are field 6, which a request reads as outputs asked
  // for.
  std::size_t outputs_seen = 0;
  std::size_t raw_seen = 0;
  std::size_t parameters_seen = 0;
  ProtoReader reader(encoded.value().view().subspan(frame_prefix_bytes));
  while (const std::uint32_t field = reader.next()) {
    if (field == tag(4, WireType::bytes)) ++parameters_seen;
    if (field == tag(5, WireType::bytes)) ++outputs_seen;
    if (field == tag(6, WireType::bytes)) ++raw_seen;
    reader.skip(field);
  }
  KEDGE_DEMAND(reader.ok() && outputs_seen == outputs.size() && parameters_seen == 2 &&
               (raw_seen == 0 || raw_seen == outputs.size()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::vector<std::uint8_t> exact(data, data + size);
  const Bytes message(exact);
  static InferRequest request;  // reused, as the engine does: nothing of an earlier request may show
  const Status form = decode(message, request);
  KEDGE_DEMAND(form.ok() || form.code() == Code::kInvalidArgument);
  if (form.ok()) {
    for (const InputView& input : request.inputs) {
      demand_inside(input.contents, message);
      demand_inside(as_bytes(input.name), message);
    }
    if (check_data(request).ok()) echo(request, message);
  }
  const std::string_view id = find_id(message);
  demand_inside(as_bytes(id), message);
  const Result<ModelReadyRequest> ready = decode_model_ready(message);
  if (ready.ok()) demand_inside(as_bytes(ready.value().name), message);
  const Result<std::string_view> service = decode_health_check(message);
  if (service.ok()) demand_inside(as_bytes(service.value()), message);
  KEDGE_DEMAND(decode_empty(message).ok() || decode_empty(message).code() == Code::kInvalidArgument);
  return 0;
}
