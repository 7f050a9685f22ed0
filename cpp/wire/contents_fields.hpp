// Iteration over the fields of an InferTensorContents message, where repeated scalars come packed, unpacked
// or both.
#pragma once

#include <cstdint>

#include "wire/proto_reader.hpp"

namespace kedge::wire {

// Calls `each(tag, reader)` for the fields of InferTensorContents in order; `each` must read or skip the
// field.
template <class Each>
bool for_each_field(Bytes contents, Each each) {
  ProtoReader reader(contents);
  while (const std::uint32_t field = reader.next()) each(field, reader);
  return reader.ok();
}

// Calls `each(value)` for the varints of a repeated field, packed or not. False: malformed.
template <class Each>
bool for_each_varint(Bytes contents, std::uint32_t number, Each each) {
  bool ok = true;
  const bool well_formed = for_each_field(contents, [&](std::uint32_t field, ProtoReader& reader) {
    if (field == tag(number, WireType::varint)) {
      each(reader.varint());
    } else if (field == tag(number, WireType::bytes)) {
      ProtoReader packed(reader.bytes());
      while (!packed.at_end()) {
        const std::uint64_t value = packed.varint();
        if (packed.ok()) each(value);
      }
      ok = ok && packed.ok();
    } else {
      reader.skip(field);
    }
  });
  return ok && well_formed;
}

// Calls `run(bytes)` for every run of fixed-width elements of a repeated field. False: malformed.
template <class Run>
bool for_each_fixed_run(Bytes contents, std::uint32_t number, std::size_t width, Run run) {
  bool ok = true;
  const WireType single = width == sizeof(float) ? WireType::fixed32 : WireType::fixed64;
  const bool well_formed = for_each_field(contents, [&](std::uint32_t field, ProtoReader& reader) {
    if (field == tag(number, single)) {
      if (width == sizeof(float)) {
        const std::uint32_t value = reader.fixed32();
        if (reader.ok()) run(Bytes(reinterpret_cast<const std::uint8_t*>(&value), width));
      } else {
        const std::uint64_t value = reader.fixed64();
        if (reader.ok()) run(Bytes(reinterpret_cast<const std::uint8_t*>(&value), width));
      }
    } else if (field == tag(number, WireType::bytes)) {
      const Bytes packed = reader.bytes();
      ok = ok && packed.size() % width == 0;
      if (reader.ok() && ok) run(packed);
    } else {
      reader.skip(field);
    }
  });
  return ok && well_formed;
}

}  // namespace kedge::wire
