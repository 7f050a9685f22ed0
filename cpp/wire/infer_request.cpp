#include "wire/infer_request.hpp"

#include "wire/infer_parameters.hpp"
#include "wire/proto_reader.hpp"
#include "wire/quote.hpp"

namespace kedge::wire {

namespace {

// ModelInferRequest
constexpr std::uint32_t model_name_tag = tag(1, WireType::bytes);
constexpr std::uint32_t model_version_tag = tag(2, WireType::bytes);
constexpr std::uint32_t id_tag = tag(3, WireType::bytes);
constexpr std::uint32_t parameters_tag = tag(4, WireType::bytes);
constexpr std::uint32_t inputs_tag = tag(5, WireType::bytes);
constexpr std::uint32_t outputs_tag = tag(6, WireType::bytes);
constexpr std::uint32_t raw_contents_tag = tag(7, WireType::bytes);
// InferInputTensor
constexpr std::uint32_t input_name_tag = tag(1, WireType::bytes);
constexpr std::uint32_t input_datatype_tag = tag(2, WireType::bytes);
constexpr std::uint32_t input_shape_tag = tag(3, WireType::varint);
constexpr std::uint32_t input_packed_shape_tag = tag(3, WireType::bytes);
constexpr std::uint32_t input_parameters_tag = tag(4, WireType::bytes);
constexpr std::uint32_t input_contents_tag = tag(5, WireType::bytes);
// InferRequestedOutputTensor
constexpr std::uint32_t output_name_tag = tag(1, WireType::bytes);
constexpr std::uint32_t output_parameters_tag = tag(2, WireType::bytes);

Status refused(std::string text) { return {Code::kInvalidArgument, std::move(text)}; }

Status malformed() { return refused("these bytes are not an inference.ModelInferRequest"); }

// Reads a message into views. Its steps return false where they refuse, with the reason in `failure`, so that
// the way without a fault makes no Status.
class Parser {
 public:
  explicit Parser(InferRequest& out) : out_(out) {}

  bool request(Bytes message);
  [[nodiscard]] Status& failure() { return failure_; }

 private:
  bool field(std::uint32_t field_tag, ProtoReader& reader);
  bool input(Bytes bytes, InputView& input);
  bool output(Bytes bytes, OutputRequest& output);
  bool extent(InputView& input, std::uint64_t varint);
  bool packed_extents(InputView& input, Bytes packed);
  bool tensor_parameter(Bytes entry, std::size_t& count, RefusedParameter& noted);

  // A string field's content. Every occurrence must be UTF-8, the last one counts.
  bool text(ProtoReader& reader, std::string_view& to) {
    to = reader.text();
    return is_utf8(to) || fail(malformed());
  }
  bool fail(Status status) {
    failure_ = std::move(status);
    return false;
  }
  bool too_many(std::string_view what, std::size_t most) {
    return fail(
        refused("expected at most " + std::to_string(most) + " " + std::string(what) + " in one request"));
  }

  InferRequest& out_;
  Status failure_;
  std::size_t parameters_ = 0;
};

bool Parser::extent(InputView& input, std::uint64_t varint) {
  if (input.shape.rank == limits::max_dimensions) {
    return fail(refused("input " + quoted(input.name) + " has more than " +
                        std::to_string(limits::max_dimensions) + " dimensions"));
  }
  input.shape.values[input.shape.rank++] = static_cast<std::int64_t>(varint);
  return true;
}

bool Parser::packed_extents(InputView& input, Bytes packed) {
  ProtoReader extents(packed);
  while (!extents.at_end()) {
    if (!extent(input, extents.varint())) return false;
  }
  return extents.ok() || fail(malformed());
}

// Notes what of a tensor's parameters is refused; `count` is of the tensor's entries.
bool Parser::tensor_parameter(Bytes entry, std::size_t& count, RefusedParameter& noted) {
  if (++count > limits::max_parameters) return too_many("parameters of a tensor", limits::max_parameters);
  const std::optional<ParameterView> parameter = read_parameter(entry);
  if (!parameter) return fail(malformed());
  if (parameter->name.starts_with("shared_memory_")) noted = RefusedParameter::shared_memory;
  if (parameter->name == "classification") noted = RefusedParameter::classification;
  return true;
}

bool Parser::input(Bytes bytes, InputView& input) {
  ProtoReader reader(bytes);
  std::size_t parameters = 0;
  while (const std::uint32_t field_tag = reader.next()) {
    bool taken = true;
    switch (field_tag) {
      case input_name_tag:
        taken = text(reader, input.name);
        break;
      case input_datatype_tag:
        taken = text(reader, input.datatype);
        break;
      case input_shape_tag:
        taken = extent(input, reader.varint());
        break;
      case input_packed_shape_tag:
        taken = packed_extents(input, reader.bytes());
        break;
      case input_parameters_tag:
        taken = tensor_parameter(reader.bytes(), parameters, input.refused);
        break;
      case input_contents_tag:
        // Protobuf would merge a second one; no encoder writes it, and a view cannot be in two places.
        if (input.has_contents)
          return fail(refused("contents given twice for one input; send them as one field"));
        input.has_contents = true;
        input.contents = reader.bytes();
        break;
      default:
        reader.skip(field_tag);
    }
    if (!taken) return false;
  }
  if (!reader.ok()) return fail(malformed());
  input.dtype = dtype_named(input.datatype).value_or(DType::unknown);
  return true;
}

bool Parser::output(Bytes bytes, OutputRequest& output) {
  ProtoReader reader(bytes);
  std::size_t parameters = 0;
  while (const std::uint32_t field_tag = reader.next()) {
    if (field_tag == output_name_tag) {
      if (!text(reader, output.name)) return false;
    } else if (field_tag == output_parameters_tag) {
      if (!tensor_parameter(reader.bytes(), parameters, output.refused)) return false;
    } else {
      reader.skip(field_tag);
    }
  }
  return reader.ok() || fail(malformed());
}

bool Parser::field(std::uint32_t field_tag, ProtoReader& reader) {
  switch (field_tag) {
    case model_name_tag:
      return text(reader, out_.model_name);
    case model_version_tag:
      return text(reader, out_.model_version);
    case id_tag:
      return text(reader, out_.id);
    case parameters_tag: {
      if (++parameters_ > limits::max_parameters) return too_many("parameters", limits::max_parameters);
      Status status = apply_parameter(reader.bytes(), out_);
      return status.ok() || fail(std::move(status));
    }
    case inputs_tag:
      if (out_.inputs.size() == limits::max_tensors) return too_many("inputs", limits::max_tensors);
      return input(reader.bytes(), out_.inputs.emplace_back());
    case outputs_tag:
      if (out_.outputs.size() == limits::max_tensors) return too_many("outputs", limits::max_tensors);
      return output(reader.bytes(), out_.outputs.emplace_back());
    case raw_contents_tag:
      if (out_.raw_contents.size() == limits::max_tensors)
        return too_many("raw_input_contents", limits::max_tensors);
      out_.raw_contents.push_back(reader.bytes());
      return true;
    default:
      reader.skip(field_tag);
      return true;
  }
}

bool Parser::request(Bytes message) {
  ProtoReader reader(message);
  while (const std::uint32_t field_tag = reader.next()) {
    const bool taken = field(field_tag, reader);
    if (!reader.ok()) break;
    if (!taken) return false;
  }
  if (!reader.ok()) return fail(malformed());
  if (out_.id.size() > limits::max_id_bytes) {
    return fail(refused("request id: expected at most " + std::to_string(limits::max_id_bytes) +
                        " bytes, got " + std::to_string(out_.id.size())));
  }
  return true;
}

}  // namespace

void InferRequest::clear() {
  model_name = model_version = id = {};
  inputs.clear();
  outputs.clear();
  raw_contents.clear();
  key.reset();
  timeout_us.reset();
  confidence = false;
  final_response = false;
}

Status decode(Bytes message, InferRequest& out) {
  out.clear();
  Parser parser(out);
  parser.request(message);
  return std::move(parser.failure());
}

std::string_view find_id(Bytes message) {
  ProtoReader reader(message);
  std::string_view id;
  while (const std::uint32_t field = reader.next()) {
    if (field == id_tag) {
      id = reader.text();
    } else {
      reader.skip(field);
    }
  }
  return id.size() <= limits::max_id_bytes && is_utf8(id) ? id : std::string_view();
}

}  // namespace kedge::wire
