#include "wire/infer_contents.hpp"

#include <array>
#include <limits>

#include "wire/contents_fields.hpp"

namespace kedge::wire {

namespace {

constexpr std::array<std::string_view, 9> field_names = {"",
                                                         "bool_contents",
                                                         "int_contents",
                                                         "int64_contents",
                                                         "uint_contents",
                                                         "uint64_contents",
                                                         "fp32_contents",
                                                         "fp64_contents",
                                                         "bytes_contents"};

Status refused(std::string text) { return {Code::kInvalidArgument, std::move(text)}; }

Status malformed() { return refused("these bytes are not an inference.ModelInferRequest"); }

Status count_mismatch(std::int64_t expected, std::size_t got, const std::string& place) {
  return refused("input element count mismatch " + place + ". Expected " + std::to_string(expected) +
                 ", got " + std::to_string(got));
}

Status count_elements(InputView& input, const InferRequest& request) {
  std::int64_t count = 1;
  bool fits = true;
  for (const std::int64_t extent : input.shape.dims()) {
    if (extent < 0) {
      return refused("shape mismatch " + where(input, request) + ". Expected extents of 0 or more, got " +
                     std::to_string(extent));
    }
    // Checked before it happens; a zero anywhere makes the whole product zero.
    if (extent != 0 && count > limits::max_elements / extent) fits = false;
    count = fits || extent == 0 ? count * extent : count;
    if (extent == 0) {
      count = 0;
      fits = true;
    }
  }
  if (!fits)
    return refused("shape " + where(input, request) + ": over " + std::to_string(limits::max_elements) +
                   " elements");
  input.elements = count;
  return {};
}

Status check_raw_strings(const InputView& input, const InferRequest& request) {
  constexpr std::size_t length_bytes = 4;
  Bytes left = input.raw;
  std::int64_t seen = 0;
  while (!left.empty()) {
    if (seen == input.elements) {
      return refused("input element count mismatch " + where(input, request) + ". Expected " +
                     std::to_string(input.elements) + ", got more: " + std::to_string(left.size()) +
                     " bytes are left");
    }
    if (left.size() < length_bytes) {
      return refused("BYTES data " + where(input, request) + " ends inside the length of element " +
                     std::to_string(seen));
    }
    std::uint32_t size = 0;
    std::memcpy(&size, left.data(), length_bytes);
    left = left.subspan(length_bytes);
    if (size > left.size()) {
      return refused("BYTES data " + where(input, request) + ": element " + std::to_string(seen) +
                     " claims " + std::to_string(size) + " bytes. Expected at most " +
                     std::to_string(left.size()));
    }
    left = left.subspan(size);
    ++seen;
  }
  if (seen != input.elements)
    return count_mismatch(input.elements, static_cast<std::size_t>(seen), where(input, request));
  return {};
}

// Whether every byte is 0 or 1.
bool are_booleans(Bytes bytes) {
  std::uint8_t all = 0;
  for (const std::uint8_t byte : bytes) all |= byte;
  return all <= 1;
}

Status check_raw(const InputView& input, const InferRequest& request) {
  if (input.dtype == DType::bytes) return check_raw_strings(input, request);
  // elements <= 2^40 and 8 bytes each: no overflow.
  if (input.raw.size() != input.byte_size()) {
    return refused("input byte size mismatch " + where(input, request) + ". Expected " +
                   std::to_string(input.byte_size()) + ", got " + std::to_string(input.raw.size()));
  }
  if (input.dtype == DType::boolean && !are_booleans(input.raw)) {
    return refused("value mismatch " + where(input, request) +
                   ". Expected BOOL bytes of 0 or 1, got another");
  }
  return {};
}

// The first field of InferTensorContents that holds something and is not `expected`; 0 if none does.
std::uint32_t foreign_field(Bytes contents, std::uint32_t expected) {
  std::uint32_t found = 0;
  for_each_field(contents, [&](std::uint32_t field, ProtoReader& reader) {
    const std::uint32_t number = field >> 3;
    const auto type = static_cast<WireType>(field & 7);
    constexpr std::array<WireType, 9> single = {WireType::varint,  WireType::varint,  WireType::varint,
                                                WireType::varint,  WireType::varint,  WireType::varint,
                                                WireType::fixed32, WireType::fixed64, WireType::bytes};
    if (number >= single.size() || number == expected ||
        (type != single[number] && type != WireType::bytes)) {
      reader.skip(field);
      return;
    }
    // An empty packed run is no element; an empty string is one.
    bool holds = true;
    if (type == WireType::bytes) {
      holds = !reader.bytes().empty() || number == single.size() - 1;
    } else {
      reader.skip(field);
    }
    if (holds && (found == 0 || number < found)) found = number;
  });
  return found;
}

struct Range {
  std::int64_t low;
  std::int64_t high;
};

template <class T>
constexpr Range range_of() {
  return {std::numeric_limits<T>::min(), std::numeric_limits<T>::max()};
}

// What a type narrower than its field can hold.
constexpr std::optional<Range> narrow_range(DType dtype) {
  switch (dtype) {
    case DType::int8:
      return range_of<std::int8_t>();
    case DType::int16:
      return range_of<std::int16_t>();
    case DType::uint8:
      return range_of<std::uint8_t>();
    case DType::uint16:
      return range_of<std::uint16_t>();
    default:
      return std::nullopt;
  }
}

// A varint of int_contents or uint_contents as the number it stands for: protobuf keeps the low 32 bits.
std::int64_t narrow_value(DType dtype, std::uint64_t varint) {
  const auto low = static_cast<std::uint32_t>(varint);
  const bool is_signed = dtype == DType::int8 || dtype == DType::int16 || dtype == DType::int32;
  return is_signed ? std::int64_t{static_cast<std::int32_t>(low)} : std::int64_t{low};
}

// Counts the elements of the dtype's field; notes a single run that lies as raw elements would.
bool count_contents(InputView& input, std::size_t& count, bool& in_range) {
  const DTypeInfo& type = info(input.dtype);
  count = 0;
  std::size_t runs = 0;
  Bytes only;
  bool well_formed = false;
  if (input.dtype == DType::bytes) {
    return for_each_field(input.contents, [&](std::uint32_t field, ProtoReader& reader) {
      if (field == tag(type.contents, WireType::bytes)) ++count;
      reader.skip(field);
    });
  }
  if (input.dtype == DType::fp32 || input.dtype == DType::fp64) {
    const std::uint8_t* const begin = input.contents.data();
    const std::uint8_t* const end = begin + input.contents.size();
    well_formed = for_each_fixed_run(input.contents, type.contents, type.size, [&](Bytes run) {
      if (run.empty()) return;
      count += run.size() / type.size;
      ++runs;
      // A single unpacked element comes as a copy; only runs inside the message can be pointed at.
      only = run.data() >= begin && run.data() < end ? run : Bytes();
    });
    input.in_place = runs == 1 && !only.empty();
    if (input.in_place) input.raw = only;
    return well_formed;
  }
  const std::optional<Range> range = narrow_range(input.dtype);
  return for_each_varint(input.contents, type.contents, [&](std::uint64_t varint) {
    ++count;
    if (!range) return;
    const std::int64_t value = narrow_value(input.dtype, varint);
    in_range = in_range && value >= range->low && value <= range->high;
  });
}

Status check_contents(InputView& input, const InferRequest& request) {
  const DTypeInfo& type = info(input.dtype);
  if (type.contents == 0) {
    return refused(std::string(type.name) + " has no typed form " + where(input, request) +
                   ". Expected raw_input_contents");
  }
  std::size_t count = 0;
  bool in_range = true;
  if (!count_contents(input, count, in_range)) return malformed();
  if (const std::uint32_t other = foreign_field(input.contents, type.contents); other != 0) {
    return refused("contents mismatch " + where(input, request) + ". Expected " +
                   std::string(field_names[type.contents]) + ", got " + std::string(field_names[other]));
  }
  if (count != static_cast<std::size_t>(input.elements))
    return count_mismatch(input.elements, count, where(input, request));
  if (!in_range) {
    const Range range = *narrow_range(input.dtype);
    return refused("value out of range " + where(input, request) + ". Expected " + std::string(type.name) +
                   " in [" + std::to_string(range.low) + ", " + std::to_string(range.high) + "]");
  }
  return {};
}

}  // namespace

Status check_elements(InputView& input, const InferRequest& request) {
  const Status counted = count_elements(input, request);
  if (!counted.ok()) return counted;
  return input.in_place ? check_raw(input, request) : check_contents(input, request);
}

}  // namespace kedge::wire
