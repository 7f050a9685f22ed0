#include "wire/health.hpp"

#include "wire/frame.hpp"
#include "wire/proto_writer.hpp"

namespace kedge::wire {

namespace {

Status malformed() { return {Code::kInvalidArgument, "these bytes are not the message this method takes"}; }

// A message with one varint field, number 1; 0 is left out, as proto3 does.
Buffer encode_one(std::uint64_t value) {
  const std::size_t size = value == 0 ? 0 : 1 + varint_size(value);
  Buffer buffer;
  std::uint8_t* const start = buffer.extend(frame_prefix_bytes + size);
  write_frame_prefix(start, size);
  if (value != 0) {
    ProtoWriter writer(start + frame_prefix_bytes);
    writer.tag(1, WireType::varint);
    writer.varint(value);
  }
  return buffer;
}

}  // namespace

Result<ModelReadyRequest> decode_model_ready(Bytes message) {
  ModelReadyRequest request;
  ProtoReader reader(message);
  while (const std::uint32_t field = reader.next()) {
    if (field == tag(1, WireType::bytes)) {
      request.name = reader.text();
      if (!is_utf8(request.name)) return malformed();
    } else if (field == tag(2, WireType::bytes)) {
      request.version = reader.text();
      if (!is_utf8(request.version)) return malformed();
    } else {
      reader.skip(field);
    }
  }
  if (!reader.ok()) return malformed();
  return request;
}

Result<std::string_view> decode_health_check(Bytes message) {
  std::string_view service;
  ProtoReader reader(message);
  while (const std::uint32_t field = reader.next()) {
    if (field == tag(1, WireType::bytes)) {
      service = reader.text();
      if (!is_utf8(service)) return malformed();
    } else {
      reader.skip(field);
    }
  }
  if (!reader.ok()) return malformed();
  return service;
}

Status decode_empty(Bytes message) {
  ProtoReader reader(message);
  while (const std::uint32_t field = reader.next()) reader.skip(field);
  return reader.ok() ? Status() : malformed();
}

Buffer encode_bool(bool value) { return encode_one(value ? 1 : 0); }

Buffer encode_health(Serving status) { return encode_one(static_cast<std::uint64_t>(status)); }

}  // namespace kedge::wire
