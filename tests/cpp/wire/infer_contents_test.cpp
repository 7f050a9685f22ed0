// Elements: every type in raw and typed form, packed and unpacked, in and out of range.
#include <doctest/doctest.h>

#include "elements.hpp"
#include "message.hpp"

using namespace kedge;
using namespace kedge::wire;
using namespace kedge::wire::test;

namespace {

struct Outcome {
  std::string error;
  std::string data;
  bool in_place = false;
};

Outcome typed(std::string_view datatype, std::int64_t count, const std::string& contents) {
  InferRequest request;
  const std::string message = bytes(1, "m") + input("X", datatype, {count}, bytes(5, contents));
  Status status = decode(as_bytes(message), request);
  if (status.ok()) status = check_data(request);
  if (!status.ok()) return {status.message(), "", false};
  return {"", elements(request.inputs[0]), request.inputs[0].in_place};
}

std::string raw(std::string_view datatype, std::int64_t count, const std::string& data) {
  InferRequest request;
  const std::string message = bytes(1, "m") + input("X", datatype, {count}) + bytes(7, data);
  Status status = decode(as_bytes(message), request);
  if (status.ok()) status = check_data(request);
  return status.message();
}

template <class T>
std::string le(std::initializer_list<T> values) {
  return std::string(reinterpret_cast<const char*>(values.begin()), values.size() * sizeof(T));
}

const std::string at = " for input 'X' for model 'm'";

}  // namespace

TEST_CASE("packed floats are used where they lie; mixed with unpacked ones they are gathered in order") {
  const std::string packed = bytes(6, le({1.0f, 2.0f}));
  const std::string single = varint(6 << 3 | 5) + le({3.0f});
  CHECK(typed("FP32", 2, packed).data == le({1.0f, 2.0f}));
  CHECK(typed("FP32", 2, packed).in_place);
  const Outcome mixed = typed("FP32", 5, packed + single + packed);
  CHECK(mixed.data == le({1.0f, 2.0f, 3.0f, 1.0f, 2.0f}));
  CHECK_FALSE(mixed.in_place);
  const Outcome one = typed("FP32", 1, single);
  CHECK(one.data == le({3.0f}));
  CHECK_FALSE(one.in_place);
  CHECK(typed("FP64", 1, varint(7 << 3 | 1) + le({4.5})).data == le({4.5}));
}

TEST_CASE("an empty packed run beside the elements changes nothing") {
  CHECK(typed("FP32", 1, bytes(6, "") + bytes(6, le({1.0f})) + bytes(2, "")).data == le({1.0f}));
}

TEST_CASE("packed floats whose bytes are no multiple of their size are no protobuf") {
  CHECK(typed("FP32", 1, bytes(6, "abcde")).error == "these bytes are not an inference.ModelInferRequest");
}

TEST_CASE("integers narrower than their field are range-checked at both ends") {
  const auto minus = [](std::int64_t value) { return static_cast<std::uint64_t>(value); };
  CHECK(typed("INT8", 2, bytes(2, varint(127) + varint(minus(-128)))).data == le<std::int8_t>({127, -128}));
  CHECK(typed("INT8", 1, number(2, 128)).error ==
        "value out of range" + at + ". Expected INT8 in [-128, 127]");
  CHECK(typed("INT8", 1, number(2, minus(-129))).error.starts_with("value out of range"));
  CHECK(typed("INT16", 2, number(2, 32767) + number(2, minus(-32768))).data ==
        le<std::int16_t>({32767, -32768}));
  CHECK(typed("INT16", 1, number(2, 32768)).error.starts_with("value out of range"));
  CHECK(typed("UINT8", 1, number(4, 255)).data == le<std::uint8_t>({255}));
  CHECK(typed("UINT8", 1, number(4, 256)).error.starts_with("value out of range"));
  CHECK(typed("UINT16", 1, number(4, 65536)).error ==
        "value out of range" + at + ". Expected UINT16 in [0, 65535]");
}

TEST_CASE("32 and 64 bit integers keep what protobuf keeps") {
  CHECK(typed("INT32", 1, number(2, 0xFFFFFFFFFFFFFFFF)).data == le<std::int32_t>({-1}));
  CHECK(typed("INT32", 1, number(2, 0x1FFFFFFFF)).data == le<std::int32_t>({-1}));
  CHECK(typed("UINT32", 1, number(4, 0xFFFFFFFF)).data == le<std::uint32_t>({0xFFFFFFFF}));
  CHECK(typed("INT64", 1, number(3, 0x8000000000000000)).data == le<std::int64_t>({INT64_MIN}));
  CHECK(typed("UINT64", 1, bytes(5, varint(UINT64_MAX))).data == le<std::uint64_t>({UINT64_MAX}));
}

TEST_CASE("booleans are any varint but zero") {
  CHECK(typed("BOOL", 4, bytes(1, varint(0) + varint(1) + varint(300)) + number(1, 0)).data ==
        std::string("\0\1\1\0", 4));
}

TEST_CASE("BYTES may hold NUL, nothing and invalid UTF-8") {
  const std::string odd = std::string("a\0b", 3);
  const std::string contents = bytes(8, odd) + bytes(8, "") + bytes(8, "\xFF");
  CHECK(typed("BYTES", 3, contents).data == std::string("\3\0\0\0a\0b\0\0\0\0\1\0\0\0\xFF", 16));
}

TEST_CASE("FP16 and BF16 exist only raw") {
  CHECK(typed("FP16", 0, "").error == "FP16 has no typed form" + at + ". Expected raw_input_contents");
  CHECK(typed("BF16", 1, bytes(6, le({1.0f}))).error.starts_with("BF16 has no typed form"));
  CHECK(raw("FP16", 2, "abcd").empty());
  CHECK(raw("BF16", 2, "abcde") == "input byte size mismatch" + at + ". Expected 4, got 5");
}

TEST_CASE("elements in the field of another type, and counts that differ, are refused") {
  CHECK(typed("FP32", 1, number(2, 1)).error ==
        "contents mismatch" + at + ". Expected fp32_contents, got int_contents");
  CHECK(typed("INT8", 1, number(2, 1) + bytes(8, "")).error.find("got bytes_contents") != std::string::npos);
  CHECK(typed("FP32", 3, bytes(6, le({1.0f}))).error ==
        "input element count mismatch" + at + ". Expected 3, got 1");
  CHECK(typed("BYTES", 1, "").error == "input element count mismatch" + at + ". Expected 1, got 0");
}

TEST_CASE("raw BYTES are measured element by element") {
  CHECK(raw("BYTES", 2, std::string("\1\0\0\0a\0\0\0\0", 9)).empty());
  CHECK(raw("BYTES", 1, std::string("\2\0\0\0a", 5)) ==
        "BYTES data" + at + ": element 0 claims 2 bytes. Expected at most 1");
  CHECK(raw("BYTES", 1, std::string("\1\0\0", 3)) ==
        "BYTES data" + at + " ends inside the length of element 0");
  CHECK(raw("BYTES", 2, std::string("\1\0\0\0a", 5)) ==
        "input element count mismatch" + at + ". Expected 2, got 1");
  CHECK(raw("BYTES", 1, std::string("\1\0\0\0a\0", 6)) ==
        "input element count mismatch" + at + ". Expected 1, got more: 1 bytes are left");
  CHECK(raw("BYTES", 1, std::string("\xFF\xFF\xFF\xFF", 4)).find("claims 4294967295 bytes") !=
        std::string::npos);
}

TEST_CASE("raw BOOL holds only 0 and 1") {
  CHECK(raw("BOOL", 2, std::string("\0\1", 2)).empty());
  CHECK(raw("BOOL", 2, std::string("\0\2", 2)) ==
        "value mismatch" + at + ". Expected BOOL bytes of 0 or 1, got another");
}
