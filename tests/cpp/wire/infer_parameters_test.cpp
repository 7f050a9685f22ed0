// Request parameters.
#include "wire/infer_parameters.hpp"

#include <doctest/doctest.h>

#include "message.hpp"

using namespace kedge;
using namespace kedge::wire;
using namespace kedge::wire::test;

namespace {

// What is said of one parameter; empty when it is taken.
std::string said(std::string_view name, const std::string& value, InferRequest& request) {
  const std::string message = bytes(1, "m") + parameter(4, name, value);
  static std::string kept;  // views in `request` point here
  kept = message;
  const Status status = decode(as_bytes(kept), request);
  CHECK((status.ok() || status.code() == Code::kInvalidArgument));
  return status.message();
}

std::string said(std::string_view name, const std::string& value) {
  InferRequest request;
  return said(name, value, request);
}

const std::string yes = number(1, 1);
const std::string no = number(1, 0);
const std::string five = number(2, 5);
const std::string zero = number(2, 0);
const std::string word = bytes(3, "word");
const std::string half = varint(4 << 3 | 1) + std::string("\0\0\0\0\0\0\xE0\x3F", 8);
const std::string unsigned_five = number(5, 5);

}  // namespace

TEST_CASE("kedge_key, kedge_confidence and timeout are read") {
  InferRequest request;
  CHECK(said("kedge_key", word, request).empty());
  CHECK(request.key == "word");
  CHECK(said("kedge_confidence", yes, request).empty());
  CHECK(request.confidence);
  CHECK_FALSE(request.key.has_value());
  CHECK(said("timeout", five, request).empty());
  CHECK(request.timeout_us == 5);
  CHECK(said("timeout", unsigned_five, request).empty());
  CHECK(request.timeout_us == 5);
  CHECK(said("timeout", zero, request).empty());
  CHECK_FALSE(request.timeout_us.has_value());
  CHECK(said("timeout", number(5, UINT64_MAX), request).empty());
  CHECK(request.timeout_us == INT64_MAX);
}

TEST_CASE("values of another kind are refused by name") {
  CHECK(said("kedge_key", five) == "parameter 'kedge_key': expected string_param, got int64_param");
  CHECK(said("timeout", half) ==
        "parameter 'timeout': expected int64_param or uint64_param, got double_param");
  CHECK(said("timeout", "") == "parameter 'timeout': expected int64_param or uint64_param, got no value");
  CHECK(said("priority", word) ==
        "parameter 'priority': expected int64_param or uint64_param, got string_param");
  CHECK(said("kedge_confidence", word).find("expected bool_param") != std::string::npos);
  CHECK(said("timeout", number(2, static_cast<std::uint64_t>(-1))) ==
        "parameter 'timeout' is in microseconds. Expected 0 or more, got -1");
}

TEST_CASE("reserved names without effect are taken, state between requests is not") {
  CHECK(said("priority", unsigned_five).empty());
  CHECK(said("binary_data_output", yes).empty());
  CHECK(said("headers", word).empty());
  InferRequest request;
  CHECK(said("triton_enable_empty_final_response", yes, request).empty());
  CHECK(request.final_response);
  CHECK(said("sequence_start", no).empty());
  CHECK(said("sequence_id", zero).empty());
  CHECK(said("sequence_id", bytes(3, "")).empty());
  CHECK(said("sequence_id", five) ==
        "parameter 'sequence_id' is not supported: models keep no state between requests");
  CHECK(said("sequence_id", word).find("not supported") != std::string::npos);
}

TEST_CASE("unknown names in reserved spaces are refused, others ignored") {
  CHECK(said("triton_x", yes).starts_with("unknown parameter 'triton_x'"));
  CHECK(said("kedge_x", yes).starts_with("unknown parameter 'kedge_x'"));
  CHECK(said("anything", half).empty());
  CHECK(said("", "").empty());
}

TEST_CASE("a sticky key has a bounded length") {
  CHECK(said("kedge_key", bytes(3, std::string(1024, 'k'))).empty());
  CHECK(said("kedge_key", bytes(3, std::string(1025, 'k'))) ==
        "parameter 'kedge_key': expected at most 1024 bytes, got 1025");
  CHECK(check_key(std::string(1025, 'k'), "x-kedge-key").message() ==
        "x-kedge-key: expected at most 1024 bytes, got 1025");
}

TEST_CASE("the last of several choices counts") {
  InferRequest request;
  CHECK(said("timeout", word + five, request).empty());
  CHECK(request.timeout_us == 5);
}

TEST_CASE("values that are no protobuf are refused as such") {
  CHECK(said("x", bytes(3, "\xFF")) == "these bytes are not an inference.ModelInferRequest");
  CHECK(said("x", "\x0A") == "these bytes are not an inference.ModelInferRequest");
}
