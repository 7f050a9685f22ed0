#include "wire/infer_response.hpp"

#include <algorithm>

#include "wire/frame.hpp"
#include "wire/proto_writer.hpp"
#include "wire/typed_contents.hpp"

namespace kedge::wire {

namespace {

constexpr std::size_t protobuf_max = 0x7FFFFFFF;

// ModelInferResponse
constexpr std::uint32_t model_name_field = 1;
constexpr std::uint32_t model_version_field = 2;
constexpr std::uint32_t id_field = 3;
constexpr std::uint32_t parameters_field = 4;
constexpr std::uint32_t outputs_field = 5;
constexpr std::uint32_t raw_contents_field = 6;
// InferOutputTensor
constexpr std::uint32_t name_field = 1;
constexpr std::uint32_t datatype_field = 2;
constexpr std::uint32_t shape_field = 3;
constexpr std::uint32_t contents_field = 5;
// ModelStreamInferResponse
constexpr std::uint32_t error_message_field = 1;
constexpr std::uint32_t infer_response_field = 2;

// proto3 leaves empty strings out.
std::size_t text_size(std::string_view text) { return text.empty() ? 0 : bytes_field_size(text.size()); }

void write_text(ProtoWriter& writer, std::uint32_t field, std::string_view text) {
  if (!text.empty()) writer.text(field, text);
}

// --- parameters: map<string, InferParameter>

std::size_t value_size(const ResponseParameter& parameter) {
  if (std::holds_alternative<bool>(parameter.value)) return 2;
  if (const auto* number = std::get_if<std::int64_t>(&parameter.value)) {
    return 1 + varint_size(static_cast<std::uint64_t>(*number));
  }
  if (const auto* text = std::get_if<std::string_view>(&parameter.value))
    return bytes_field_size(text->size());
  return 1 + sizeof(double);
}

std::size_t entry_size(const ResponseParameter& parameter) {
  return bytes_field_size(parameter.key.size()) + bytes_field_size(value_size(parameter));
}

void write_parameter(ProtoWriter& writer, const ResponseParameter& parameter) {
  writer.header(parameters_field, entry_size(parameter));
  writer.text(1, parameter.key);
  writer.header(2, value_size(parameter));
  if (const auto* flag = std::get_if<bool>(&parameter.value)) {
    writer.tag(1, WireType::varint);
    writer.varint(*flag ? 1 : 0);
  } else if (const auto* number = std::get_if<std::int64_t>(&parameter.value)) {
    writer.tag(2, WireType::varint);
    writer.varint(static_cast<std::uint64_t>(*number));
  } else if (const auto* text = std::get_if<std::string_view>(&parameter.value)) {
    writer.text(3, *text);
  } else {
    writer.tag(4, WireType::fixed64);
    writer.fixed64(std::bit_cast<std::uint64_t>(std::get<double>(parameter.value)));
  }
}

// --- outputs

std::size_t shape_size(const OutputView& output) {
  std::size_t size = 0;
  for (const std::int64_t extent : output.shape) size += varint_size(static_cast<std::uint64_t>(extent));
  return size;
}

std::size_t output_size(const OutputView& output, std::size_t contents) {
  const std::size_t shape = shape_size(output);
  return text_size(output.name) + bytes_field_size(info(output.dtype).name.size()) +
         (shape == 0 ? 0 : bytes_field_size(shape)) + contents;
}

void write_output(ProtoWriter& writer, const OutputView& output) {
  write_text(writer, name_field, output.name);
  writer.text(datatype_field, info(output.dtype).name);
  const std::size_t shape = shape_size(output);
  if (shape == 0) return;
  writer.header(shape_field, shape);
  for (const std::int64_t extent : output.shape) writer.varint(static_cast<std::uint64_t>(extent));
}

// Rows from the middle of a batch have others' text before theirs in `data`.
std::size_t raw_size(const OutputView& output) {
  if (output.dtype != DType::bytes) return output.data.size();
  if (output.offsets.empty()) return 0;
  return output.data.size() - output.offsets.front() + output.offsets.size() * sizeof(std::uint32_t);
}

void write_raw(ProtoWriter& writer, const OutputView& output) {
  writer.header(raw_contents_field, raw_size(output));
  if (output.dtype != DType::bytes) {
    writer.append(output.data);
    return;
  }
  for (std::size_t i = 0; i < output.offsets.size(); ++i) {
    const Bytes element = string_element(output, i);
    const auto size = static_cast<std::uint32_t>(element.size());
    writer.append(Bytes(reinterpret_cast<const std::uint8_t*>(&size), sizeof size));
    writer.append(element);
  }
}

bool is_raw(const InferResponse& response) {
  return response.raw ||
         std::any_of(response.outputs.begin(), response.outputs.end(),
                     [](const OutputView& output) { return info(output.dtype).contents == 0; });
}

std::size_t response_size(const InferResponse& response, bool raw) {
  std::size_t size = response.head.size() + text_size(response.model_name) +
                     text_size(response.model_version) + text_size(response.id);
  for (const ResponseParameter& parameter : response.parameters)
    size += bytes_field_size(entry_size(parameter));
  for (const OutputView& output : response.outputs) {
    const std::size_t contents = raw ? 0 : bytes_field_size(typed_contents_size(output));
    size += bytes_field_size(output_size(output, contents));
    if (raw) size += bytes_field_size(raw_size(output));
  }
  return size;
}

void write_response(ProtoWriter& writer, const InferResponse& response, bool raw) {
  writer.append(response.head);
  write_text(writer, model_name_field, response.model_name);
  write_text(writer, model_version_field, response.model_version);
  write_text(writer, id_field, response.id);
  for (const ResponseParameter& parameter : response.parameters) write_parameter(writer, parameter);
  for (const OutputView& output : response.outputs) {
    const std::size_t typed = raw ? 0 : typed_contents_size(output);
    writer.header(outputs_field, output_size(output, raw ? 0 : bytes_field_size(typed)));
    write_output(writer, output);
    if (!raw) {
      writer.header(contents_field, typed);
      write_typed_contents(writer, output);
    }
  }
  if (!raw) return;
  for (const OutputView& output : response.outputs) write_raw(writer, output);
}

}  // namespace

Result<Buffer> encode(const InferResponse& response, Framing framing) {
  const bool raw = is_raw(response);
  const std::size_t inner = response_size(response, raw);
  const std::size_t size = framing == Framing::stream ? bytes_field_size(inner) : inner;
  if (size > protobuf_max) {
    return Status{Code::kResourceExhausted,
                  "the answer has " + std::to_string(size) +
                      " bytes, more than a protobuf message may; ask for fewer rows"};
  }
  Buffer buffer;
  std::uint8_t* const start = buffer.extend(frame_prefix_bytes + size);
  write_frame_prefix(start, size);
  ProtoWriter writer(start + frame_prefix_bytes);
  if (framing == Framing::stream) writer.header(infer_response_field, inner);
  write_response(writer, response, raw);
  return buffer;
}

Buffer encode_head(std::string_view model_name, std::string_view model_version,
                   std::span<const ResponseParameter> parameters) {
  InferResponse response;
  response.model_name = model_name;
  response.model_version = model_version;
  response.parameters = parameters;
  Buffer buffer;
  ProtoWriter writer(buffer.extend(response_size(response, true)));
  write_response(writer, response, true);
  return buffer;
}

Buffer encode_stream_error(std::string_view message, std::string_view id) {
  const std::size_t inner = text_size(id);
  const std::size_t size = text_size(message) + bytes_field_size(inner);
  Buffer buffer;
  std::uint8_t* const start = buffer.extend(frame_prefix_bytes + size);
  write_frame_prefix(start, size);
  ProtoWriter writer(start + frame_prefix_bytes);
  write_text(writer, error_message_field, message);
  writer.header(infer_response_field, inner);
  write_text(writer, id_field, id);
  return buffer;
}

}  // namespace kedge::wire
