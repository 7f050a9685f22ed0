#include "wire/infer_parameters.hpp"

#include <array>
#include <bit>
#include <limits>

#include "wire/proto_reader.hpp"
#include "wire/quote.hpp"

namespace kedge::wire {

namespace {

constexpr std::array<std::string_view, 6> kinds = {"no value",     "bool_param",   "int64_param",
                                                   "string_param", "double_param", "uint64_param"};
enum Kind : std::uint8_t { none_kind, bool_kind, int64_kind, string_kind, double_kind, uint64_kind };

Status refused(std::string text) { return {Code::kInvalidArgument, std::move(text)}; }

bool read_value(Bytes bytes, ParameterValue& value) {
  ProtoReader reader(bytes);
  while (const std::uint32_t field = reader.next()) {
    switch (field) {
      case tag(1, WireType::varint):
        value = reader.varint() != 0;
        break;
      case tag(2, WireType::varint):
        value = static_cast<std::int64_t>(reader.varint());
        break;
      case tag(3, WireType::bytes): {
        const std::string_view text = reader.text();
        if (!is_utf8(text)) return false;
        value = text;
        break;
      }
      case tag(4, WireType::fixed64):
        value = std::bit_cast<double>(reader.fixed64());
        break;
      case tag(5, WireType::varint):
        value = reader.varint();
        break;
      default:
        reader.skip(field);
    }
  }
  return reader.ok();
}

Status wrong_kind(const ParameterView& parameter, std::string_view expected) {
  return refused("parameter " + quoted(parameter.name) + ": expected " + std::string(expected) + ", got " +
                 std::string(kinds[parameter.value.index()]));
}

// False, zero or empty.
bool is_default(const ParameterValue& value) {
  switch (value.index()) {
    case bool_kind:
      return !std::get<bool>(value);
    case int64_kind:
      return std::get<std::int64_t>(value) == 0;
    case string_kind:
      return std::get<std::string_view>(value).empty();
    case double_kind:
      return std::get<double>(value) == 0;
    case uint64_kind:
      return std::get<std::uint64_t>(value) == 0;
    default:
      return true;
  }
}

Status apply_timeout(const ParameterView& parameter, InferRequest& request) {
  if (const auto* count = std::get_if<std::uint64_t>(&parameter.value)) {
    constexpr auto most = std::numeric_limits<std::int64_t>::max();
    request.timeout_us = *count > std::uint64_t{most} ? most : static_cast<std::int64_t>(*count);
  } else if (const auto* signed_count = std::get_if<std::int64_t>(&parameter.value)) {
    if (*signed_count < 0) {
      return refused("parameter 'timeout' is in microseconds. Expected 0 or more, got " +
                     std::to_string(*signed_count));
    }
    request.timeout_us = *signed_count;
  } else {
    return wrong_kind(parameter, "int64_param or uint64_param");
  }
  // 0 is how stock clients say "none".
  if (request.timeout_us == 0) request.timeout_us.reset();
  return {};
}

}  // namespace

std::optional<ParameterView> read_parameter(Bytes entry) {
  ParameterView parameter;
  ProtoReader reader(entry);
  while (const std::uint32_t field = reader.next()) {
    if (field == tag(1, WireType::bytes)) {
      parameter.name = reader.text();
      if (!is_utf8(parameter.name)) return std::nullopt;
    } else if (field == tag(2, WireType::bytes)) {
      if (!read_value(reader.bytes(), parameter.value)) return std::nullopt;
    } else {
      reader.skip(field);
    }
  }
  if (!reader.ok()) return std::nullopt;
  return parameter;
}

Status check_key(std::string_view key, std::string_view place) {
  if (key.size() <= limits::max_key_bytes) return {};
  return refused(std::string(place) + ": expected at most " + std::to_string(limits::max_key_bytes) +
                 " bytes, got " + std::to_string(key.size()));
}

Status apply_parameter(Bytes entry, InferRequest& request) {
  const std::optional<ParameterView> read = read_parameter(entry);
  if (!read) return refused("these bytes are not an inference.ModelInferRequest");
  const ParameterView& parameter = *read;
  const std::string_view name = parameter.name;
  const std::size_t kind = parameter.value.index();
  if (name == "timeout") return apply_timeout(parameter, request);
  if (name == "kedge_key") {
    if (kind != string_kind) return wrong_kind(parameter, "string_param");
    request.key = std::get<std::string_view>(parameter.value);
    return check_key(*request.key, "parameter 'kedge_key'");
  }
  if (name == "kedge_confidence") {
    if (kind != bool_kind) return wrong_kind(parameter, "bool_param");
    request.confidence = std::get<bool>(parameter.value);
    return {};
  }
  // Reserved and harmless: there is one priority, answers mirror the request's form, each request has one
  // answer.
  if (name == "priority") {
    return kind == int64_kind || kind == uint64_kind ? Status()
                                                     : wrong_kind(parameter, "int64_param or uint64_param");
  }
  if (name == "binary_data_output") return kind == bool_kind ? Status() : wrong_kind(parameter, "bool_param");
  if (name == "headers") return kind == string_kind ? Status() : wrong_kind(parameter, "string_param");
  if (name == "triton_enable_empty_final_response") {
    request.final_response = true;
    return kind == bool_kind ? Status() : wrong_kind(parameter, "bool_param");
  }
  if (name.starts_with("sequence_")) {
    if (is_default(parameter.value)) return {};
    return refused("parameter " + quoted(name) + " is not supported: models keep no state between requests");
  }
  if (name.starts_with("triton_") || name.starts_with("kedge_")) {
    return refused("unknown parameter " + quoted(name) +
                   ": names that begin with triton_ and kedge_ are reserved");
  }
  return {};
}

}  // namespace kedge::wire
