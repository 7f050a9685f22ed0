// Answers: what golden files do not reach.
#include "wire/infer_response.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "wire/frame.hpp"
#include "wire/proto_reader.hpp"

using namespace kedge;
using namespace kedge::wire;

namespace {

// Numbers of the fields of a message, in order.
std::vector<std::uint32_t> fields(Bytes message) {
  std::vector<std::uint32_t> found;
  ProtoReader reader(message);
  while (const std::uint32_t field = reader.next()) {
    found.push_back(field >> 3);
    reader.skip(field);
  }
  CHECK(reader.ok());
  return found;
}

}  // namespace

TEST_CASE("one FP16 output makes the whole answer raw") {
  const std::vector<std::int64_t> shape = {1};
  const std::string half = "ab";
  const std::string whole = "abcd";
  const std::vector<OutputView> outputs = {{"h", DType::fp16, shape, as_bytes(half), {}},
                                           {"f", DType::fp32, shape, as_bytes(whole), {}}};
  InferResponse response;
  response.outputs = outputs;
  response.raw = false;
  const Result<Buffer> encoded = encode(response, Framing::unary);
  CHECK(fields(encoded.value().view().subspan(frame_prefix_bytes)) == std::vector<std::uint32_t>{5, 5, 6, 6});
}

TEST_CASE("text from the middle of a batch is as long as it says, and nothing else comes along") {
  const std::vector<std::int64_t> shape = {2};
  const std::string text = "not mineyesno";
  const std::vector<std::size_t> offsets = {8, 11};
  const OutputView output = {"label", DType::bytes, shape, as_bytes(text), offsets};
  InferResponse response;
  response.outputs = {&output, 1};
  const Result<Buffer> encoded = encode(response, Framing::unary);
  ProtoReader reader(encoded.value().view().subspan(frame_prefix_bytes));
  CHECK(reader.next() == tag(5, WireType::bytes));
  reader.skip(tag(5, WireType::bytes));
  CHECK(reader.next() == tag(6, WireType::bytes));
  CHECK(as_text(reader.bytes()) == std::string_view("\3\0\0\0yes\2\0\0\0no", 13));
  CHECK(reader.next() == 0);
  CHECK(reader.ok());
}

TEST_CASE("an answer past 2 GiB is refused before anything is allocated") {
  const std::vector<std::int64_t> shape = {1};
  // Only the size is looked at.
  const OutputView output = {
      "y", DType::uint8, shape, Bytes(reinterpret_cast<const std::uint8_t*>("x"), std::size_t{1} << 31), {}};
  InferResponse response;
  response.outputs = {&output, 1};
  CHECK(encode(response, Framing::unary).status().code() == Code::kResourceExhausted);
}

TEST_CASE("a stream's error carries its text and the id it answers") {
  const Buffer encoded = encode_stream_error("bad", "id-1");
  ProtoReader reader(encoded.view().subspan(frame_prefix_bytes));
  CHECK(reader.next() == tag(1, WireType::bytes));
  CHECK(reader.text() == "bad");
  CHECK(reader.next() == tag(2, WireType::bytes));
  ProtoReader inner(reader.bytes());
  CHECK(inner.next() == tag(3, WireType::bytes));
  CHECK(inner.text() == "id-1");
  CHECK(reader.next() == 0);
  CHECK(encoded.view()[4] == encoded.size() - frame_prefix_bytes);
}

TEST_CASE("what answers share may be encoded before: it comes first, and the same is read") {
  const std::vector<ResponseParameter> parameters = {{"kedge_arm", std::string_view("live")}};
  const std::vector<std::int64_t> shape = {1};
  const std::string whole = "abcd";
  const OutputView output = {"f", DType::fp32, shape, as_bytes(whole), {}};
  const Buffer head = encode_head("m", "1.0.0", parameters);
  CHECK(fields(head.view()) == std::vector<std::uint32_t>{1, 2, 4});
  const InferResponse plain = {"m", "1.0.0", {}, parameters, {&output, 1}, true};
  const InferResponse headed = {{}, {}, {}, {}, {&output, 1}, true, head.view()};
  for (const Framing framing : {Framing::unary, Framing::stream}) {
    const Result<Buffer> expected = encode(plain, framing);
    const Result<Buffer> found = encode(headed, framing);
    CHECK(as_text(expected.value().view()) == as_text(found.value().view()));
  }
}
