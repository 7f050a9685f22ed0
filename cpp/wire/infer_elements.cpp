#include <cstring>

#include "wire/contents_fields.hpp"
#include "wire/infer_request.hpp"

namespace kedge::wire {

namespace {

template <class T>
void store(std::uint8_t*& to, T value) {
  std::memcpy(to, &value, sizeof value);
  to += sizeof value;
}

template <class T>
void copy_varints(const InputView& input, std::uint8_t* to) {
  for_each_varint(input.contents, info(input.dtype).contents,
                  [&](std::uint64_t varint) { store(to, static_cast<T>(varint)); });
}

}  // namespace

void copy_elements(const InputView& input, std::uint8_t* to) {
  if (input.in_place) {
    if (!input.raw.empty()) std::memcpy(to, input.raw.data(), input.raw.size());
    return;
  }
  switch (input.dtype) {
    case DType::fp32:
    case DType::fp64: {
      const DTypeInfo& type = info(input.dtype);
      for_each_fixed_run(input.contents, type.contents, type.size, [&](Bytes run) {
        if (!run.empty()) std::memcpy(to, run.data(), run.size());
        to += run.size();
      });
      return;
    }
    case DType::boolean:
      for_each_varint(input.contents, info(input.dtype).contents,
                      [&](std::uint64_t varint) { store(to, static_cast<std::uint8_t>(varint != 0)); });
      return;
    case DType::int8:
    case DType::uint8:
      return copy_varints<std::uint8_t>(input, to);
    case DType::int16:
    case DType::uint16:
      return copy_varints<std::uint16_t>(input, to);
    case DType::int32:
    case DType::uint32:
      return copy_varints<std::uint32_t>(input, to);
    case DType::int64:
    case DType::uint64:
      return copy_varints<std::uint64_t>(input, to);
    case DType::unknown:
    case DType::bytes:
    case DType::fp16:
    case DType::bf16:
      return;  // bytes_elements; never typed
  }
}

void bytes_elements(const InputView& input, std::string_view* to) {
  if (!input.in_place) {
    for_each_field(input.contents, [&](std::uint32_t field, ProtoReader& reader) {
      if (field == tag(info(DType::bytes).contents, WireType::bytes)) {
        *to++ = reader.text();
      } else {
        reader.skip(field);
      }
    });
    return;
  }
  Bytes left = input.raw;
  while (!left.empty()) {
    std::uint32_t size = 0;
    std::memcpy(&size, left.data(), sizeof size);
    *to++ = as_text(left.subspan(sizeof size, size));
    left = left.subspan(sizeof size + size);
  }
}

}  // namespace kedge::wire
