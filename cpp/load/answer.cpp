#include "load/answer.hpp"

#include "wire/proto_reader.hpp"

namespace kedge::load {

namespace {

using wire::ProtoReader;
using wire::tag;
using wire::WireType;

// An InferParameter's string_param; empty for other kinds.
std::string_view string_of(wire::Bytes parameter) {
  ProtoReader reader(parameter);
  std::string_view found;
  while (const std::uint32_t field = reader.next()) {
    if (field == tag(3, WireType::bytes)) {
      found = reader.text();
    } else {
      reader.skip(field);
    }
  }
  return found;
}

bool read_parameter(wire::Bytes entry, Answer& out) {
  ProtoReader reader(entry);
  std::string_view key;
  wire::Bytes value;
  while (const std::uint32_t field = reader.next()) {
    if (field == tag(1, WireType::bytes)) {
      key = reader.text();
    } else if (field == tag(2, WireType::bytes)) {
      value = reader.bytes();
    } else {
      reader.skip(field);
    }
  }
  if (key == "kedge_bundle") out.bundle = string_of(value);
  if (key == "kedge_prediction_id") out.prediction_id = string_of(value);
  return reader.ok();
}

}  // namespace

bool decode(wire::Bytes message, Answer& out) {
  out = {};
  ProtoReader reader(message);
  while (const std::uint32_t field = reader.next()) {
    switch (field) {
      case tag(2, WireType::bytes):
        out.version = reader.text();
        break;
      case tag(3, WireType::bytes):
        out.id = reader.text();
        break;
      case tag(4, WireType::bytes):
        if (!read_parameter(reader.bytes(), out)) return false;
        break;
      default:
        reader.skip(field);
    }
  }
  return reader.ok();
}

}  // namespace kedge::load
