#include "wire/typed_contents.hpp"

#include <cstring>

namespace kedge::wire {

namespace {

// Calls `each(varint)` for every element as its field encodes it: signed ones extended to 64 bits.
template <class T, class Each>
void for_each_as(Bytes data, Each each) {
  for (std::size_t at = 0; at + sizeof(T) <= data.size(); at += sizeof(T)) {
    T value;
    std::memcpy(&value, data.data() + at, sizeof value);
    each(static_cast<std::uint64_t>(static_cast<std::int64_t>(value)));
  }
}

template <class Each>
void for_each_varint(const OutputView& output, Each each) {
  switch (output.dtype) {
    case DType::boolean:
    case DType::uint8:
      return for_each_as<std::uint8_t>(output.data, each);
    case DType::int8:
      return for_each_as<std::int8_t>(output.data, each);
    case DType::uint16:
      return for_each_as<std::uint16_t>(output.data, each);
    case DType::int16:
      return for_each_as<std::int16_t>(output.data, each);
    case DType::uint32:
      return for_each_as<std::uint32_t>(output.data, each);
    case DType::int32:
      return for_each_as<std::int32_t>(output.data, each);
    case DType::int64:
    case DType::uint64:
      return for_each_as<std::int64_t>(output.data, each);
    case DType::unknown:
    case DType::fp32:
    case DType::fp64:
    case DType::fp16:
    case DType::bf16:
    case DType::bytes:
      return;  // not varints
  }
}

bool is_fixed(DType dtype) { return dtype == DType::fp32 || dtype == DType::fp64; }

// Size of the packed run.
std::size_t packed_size(const OutputView& output) {
  if (is_fixed(output.dtype)) return output.data.size();
  std::size_t size = 0;
  for_each_varint(output, [&](std::uint64_t value) { size += varint_size(value); });
  return size;
}

}  // namespace

std::size_t typed_contents_size(const OutputView& output) {
  if (output.dtype == DType::bytes) {
    std::size_t size = 0;
    for (std::size_t i = 0; i < output.offsets.size(); ++i)
      size += bytes_field_size(string_element(output, i).size());
    return size;
  }
  const std::size_t packed = packed_size(output);
  return packed == 0 ? 0 : bytes_field_size(packed);
}

void write_typed_contents(ProtoWriter& writer, const OutputView& output) {
  const std::uint32_t field = info(output.dtype).contents;
  if (output.dtype == DType::bytes) {
    for (std::size_t i = 0; i < output.offsets.size(); ++i) writer.bytes(field, string_element(output, i));
    return;
  }
  const std::size_t packed = packed_size(output);
  if (packed == 0) return;
  writer.header(field, packed);
  if (is_fixed(output.dtype)) {
    writer.append(output.data);
  } else {
    for_each_varint(output, [&](std::uint64_t value) { writer.varint(value); });
  }
}

}  // namespace kedge::wire
