// The form of requests: fields, limits, what is refused and how it is said.
#include <doctest/doctest.h>

#include "elements.hpp"
#include "message.hpp"

using namespace kedge;
using namespace kedge::wire;
using namespace kedge::wire::test;

namespace {

const std::string named = bytes(1, "m");

// What decoding and checking say of a message; empty when they take it.
std::string said(const std::string& message, InferRequest& request) {
  Status status = decode(as_bytes(message), request);
  if (status.ok()) status = check_data(request);
  CHECK((status.ok() || status.code() == Code::kInvalidArgument));
  return status.message();
}

std::string said(const std::string& message) {
  InferRequest request;
  return said(message, request);
}

const std::string not_a_request = "these bytes are not an inference.ModelInferRequest";

}  // namespace

TEST_CASE("a raw request is read in place") {
  InferRequest request;
  const std::string data(128, '\1');
  const std::string message = named + bytes(3, "id") + input("X", "FP32", {1, 32}) + bytes(7, data);
  CHECK(said(message, request).empty());
  CHECK(request.model_name == "m");
  CHECK(request.id == "id");
  CHECK(request.raw());
  REQUIRE(request.inputs.size() == 1);
  CHECK(request.inputs[0].in_place);
  CHECK(request.inputs[0].elements == 32);
  CHECK(reinterpret_cast<const char*>(request.inputs[0].raw.data()) >= message.data());
  CHECK(elements(request.inputs[0]) == data);
}

TEST_CASE("byte size mismatch is told with input, model, expected and got") {
  CHECK(said(named + input("X", "FP32", {1, 32}) + bytes(7, std::string(120, '\0'))) ==
        "input byte size mismatch for input 'X' for model 'm'. Expected 128, got 120");
}

TEST_CASE("the model is named even when it comes last") {
  CHECK(said(input("X", "FP32", {2}) + bytes(7, "abcd") + named) ==
        "input byte size mismatch for input 'X' for model 'm'. Expected 8, got 4");
}

TEST_CASE("raw and typed do not mix, and raw entries match inputs one to one") {
  CHECK(said(named + input("X", "FP32", {1}, bytes(5, bytes(6, "abcd"))) + bytes(7, "abcd"))
            .starts_with("mixed contents for input 'X'"));
  CHECK(said(named + input("X", "FP32", {1}, bytes(5, "")) + bytes(7, "abcd")).starts_with("mixed contents"));
  CHECK(said(named + input("X", "FP32", {1}) + bytes(7, "abcd") + bytes(7, "abcd")) ==
        "raw_input_contents for model 'm': expected one entry for each of 1 inputs, got 2");
}

TEST_CASE("zero rows are legal") {
  InferRequest request;
  CHECK(said(named + input("X", "FP32", {0, 32}) + bytes(7, ""), request).empty());
  CHECK(request.raw());
  CHECK(request.inputs[0].elements == 0);
  CHECK(said(named + input("X", "FP32", {0, 32}), request).empty());
  CHECK_FALSE(request.raw());
}

TEST_CASE("shapes are checked before they are multiplied") {
  constexpr std::int64_t huge = std::int64_t{1} << 62;
  CHECK(said(named + input("X", "FP32", {huge, 4}) + bytes(7, "")).find("over 1099511627776 elements") !=
        std::string::npos);
  CHECK(said(named + input("X", "FP32", {huge, huge, huge}) + bytes(7, "")).find("over") !=
        std::string::npos);
  CHECK(said(named + input("X", "FP32", {-1}) + bytes(7, "")).find("Expected extents of 0 or more, got -1") !=
        std::string::npos);
  CHECK(said(named + input("X", "FP32", {huge, 0}) + bytes(7, "")).empty());
  CHECK(said(named + input("X", "FP32", {0, huge, huge}) + bytes(7, "")).empty());
}

TEST_CASE("a scalar has one element") {
  CHECK(said(named + input("X", "FP32", {}) + bytes(7, "abcd")).empty());
}

TEST_CASE("an unknown datatype is kept as sent for the model's check") {
  InferRequest request;
  const std::string message = named + input("X", "FP99", {1});
  CHECK(decode(as_bytes(message), request).ok());
  CHECK(request.inputs[0].dtype == DType::unknown);
  CHECK(request.inputs[0].datatype == "FP99");
  CHECK(check_data(request).message() == "unknown datatype 'FP99' for input 'X' for model 'm'");
}

TEST_CASE("names are distinct, few or many") {
  const std::string one = input("X", "FP32", {0});
  CHECK(said(named + one + one) == "duplicate tensor for input 'X' for model 'm'");
  std::string many;
  for (int i = 0; i < 100; ++i) many += input("i" + std::to_string(i), "FP32", {0});
  CHECK(said(named + many).empty());
  CHECK(said(named + many + input("i50", "FP32", {0})) == "duplicate tensor for input 'i50' for model 'm'");
  CHECK(said(named + bytes(6, bytes(1, "y")) + bytes(6, bytes(1, "y"))) ==
        "duplicate output 'y' for model 'm'");
}

TEST_CASE("outputs asked for are listed in order") {
  InferRequest request;
  const std::string message = named + bytes(6, bytes(1, "b")) + bytes(6, bytes(1, "a"));
  CHECK(said(message, request).empty());
  REQUIRE(request.outputs.size() == 2);
  CHECK(request.outputs[0].name == "b");
}

TEST_CASE("shared memory and classification are refused where they are asked for") {
  const std::string region = parameter(4, "shared_memory_region", bytes(3, "r"));
  CHECK(said(named + input("X", "FP32", {1}, region))
            .starts_with("shared memory for input 'X' for model 'm' is not supported"));
  const std::string classes = parameter(2, "classification", number(2, 3));
  CHECK(said(named + bytes(6, bytes(1, "y") + classes))
            .starts_with("parameter 'classification' for output 'y'"));
}

TEST_CASE("limits on tensors, dimensions, parameters and ids hold") {
  CHECK(said(named + input("X", "FP32", std::vector<std::int64_t>(17, 1))).find("more than 16 dimensions") !=
        std::string::npos);
  std::string parameters;
  for (int i = 0; i < 257; ++i) parameters += parameter(4, "p" + std::to_string(i), "");
  CHECK(said(named + parameters).find("at most 256 parameters") != std::string::npos);
  std::string tensors;
  for (int i = 0; i < 4097; ++i) tensors += bytes(5, "");
  CHECK(said(named + tensors).find("at most 4096 inputs") != std::string::npos);
  CHECK(said(named + bytes(3, std::string(65537, 'x'))).find("request id") != std::string::npos);
  CHECK(said(named + input("X", "FP32", {1}, parameters)).find("at most 256 parameters of a tensor") !=
        std::string::npos);
}

TEST_CASE("text that is not UTF-8 is no protobuf") {
  for (const std::string& field :
       {bytes(1, "\xFF"), bytes(2, "\xC0\x80"), bytes(3, "\xED\xA0\x80"), input("\xFF", "FP32", {1}),
        input("X", "\xFF", {1}), bytes(6, bytes(1, "\xFF")), parameter(4, "\xFF", "")}) {
    CHECK(said(named + field) == not_a_request);
  }
}

TEST_CASE("text that is not UTF-8 is refused even where a later field replaces it") {
  CHECK(said(bytes(1, "\xFF") + named) == not_a_request);
  CHECK(said(named + parameter(4, "", bytes(3, "\xFF") + bytes(3, "x"))) == not_a_request);
}

TEST_CASE("scalars given twice take the last; contents given twice are refused") {
  InferRequest request;
  const std::string twice = bytes(1, "a") + bytes(1, "b");
  CHECK(said(twice, request).empty());
  CHECK(request.model_name == "b");
  CHECK(
      said(named + input("X", "FP32", {1}, bytes(5, "") + bytes(5, ""))).starts_with("contents given twice"));
}

TEST_CASE("unknown fields and known numbers of another type are passed over") {
  InferRequest request;
  const std::string group = varint(9 << 3 | 3) + number(1, 5) + varint(9 << 3 | 4);
  const std::string message = number(1, 7) + named + bytes(99, "x") + group + varint(50 << 3 | 5) + "abcd" +
                              varint(51 << 3 | 1) + "abcdefgh";
  CHECK(said(message, request).empty());
  CHECK(request.model_name == "m");
}

TEST_CASE("every cut of a request is refused or read, never past its end") {
  const std::string message = named + bytes(3, "id") + parameter(4, "kedge_key", bytes(3, "k")) +
                              input("X", "BYTES", {1}) + bytes(6, bytes(1, "y")) +
                              bytes(7, std::string("\1\0\0\0a", 5));
  for (std::size_t size = 0; size <= message.size(); ++size) {
    const std::vector<char> exact(message.begin(), message.begin() + static_cast<std::ptrdiff_t>(size));
    InferRequest request;
    const Bytes view = as_bytes({exact.data(), exact.size()});
    Status status = decode(view, request);
    if (status.ok()) status = check_data(request);
    if (size == message.size()) CHECK(status.ok());
  }
}

TEST_CASE("the id of a broken request is found") {
  CHECK(find_id(as_bytes(bytes(3, "the-id") + named + "\xFF")) == "the-id");
  const std::string broken_inside = bytes(5, "\xFF") + bytes(3, "the-id");
  CHECK(find_id(as_bytes(broken_inside)) == "the-id");
  CHECK(find_id(as_bytes(bytes(3, "\xFF"))).empty());
}
