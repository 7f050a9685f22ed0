// The codec against Python's protobuf, message by message.
#include "golden.hpp"

#include <doctest/doctest.h>

#include "elements.hpp"
#include "wire/frame.hpp"
#include "wire/infer_response.hpp"

using namespace kedge;
using namespace kedge::wire;
using namespace kedge::wire::test;

namespace {

std::string joined(std::span<const std::int64_t> shape) {
  std::string text;
  for (const std::int64_t extent : shape) {
    if (!text.empty()) text += ',';
    text += std::to_string(extent);
  }
  return text;
}

// An output as a golden line's four fields describe it.
struct Described {
  explicit Described(const std::string* fields)
      : name(unhex(fields[0])), dtype(*dtype_named(fields[1])), raw(unhex(fields[3])) {
    std::istringstream extents(fields[2]);
    for (std::string extent; std::getline(extents, extent, ',');) shape.push_back(std::stoll(extent));
    if (dtype != DType::bytes) return;
    std::string plain;
    for (std::size_t at = 0; at < raw.size();) {
      std::uint32_t size = 0;
      std::memcpy(&size, raw.data() + at, sizeof size);
      offsets.push_back(plain.size());
      plain += raw.substr(at + sizeof size, size);
      at += sizeof size + size;
    }
    raw = plain;
  }
  [[nodiscard]] OutputView view() const { return {name, dtype, shape, as_bytes(raw), offsets}; }

  std::string name;
  DType dtype;
  std::vector<std::int64_t> shape;
  std::string raw;
  std::vector<std::size_t> offsets;
};

}  // namespace

TEST_CASE("requests Python wrote are read as Python meant them") {
  InferRequest request;  // used again and again, as the engine does
  for (const auto& line : golden("requests.txt")) {
    const std::string message = unhex(line[0]);
    const Status form = decode(as_bytes(message), request);
    REQUIRE_MESSAGE(form.ok(), form.message());
    const Status data = check_data(request);
    REQUIRE_MESSAGE(data.ok(), data.message());
    CHECK(request.model_name == unhex(line[1]));
    CHECK(request.model_version == unhex(line[2]));
    CHECK(request.id == unhex(line[3]));
    CHECK(request.key.value_or("") == unhex(line[4]));
    CHECK(request.raw() == (line[5] == "1"));
    REQUIRE(request.inputs.size() == (line.size() - 6) / 4);
    for (std::size_t i = 0; i < request.inputs.size(); ++i) {
      const InputView& input = request.inputs[i];
      const std::string* fields = &line[6 + 4 * i];
      CHECK(input.name == unhex(fields[0]));
      CHECK(input.datatype == fields[1]);
      CHECK(joined(input.shape.dims()) == fields[2]);
      CHECK(elements(input) == unhex(fields[3]));
    }
  }
}

TEST_CASE("answers are the bytes Python would have written") {
  for (const auto& line : golden("responses.txt")) {
    std::vector<Described> described;
    for (std::size_t at = 4; at < line.size(); at += 4) described.emplace_back(&line[at]);
    std::vector<OutputView> outputs;
    for (const Described& one : described) outputs.push_back(one.view());
    const std::string id = unhex(line[2]);
    const std::vector<ResponseParameter> parameters = {
        {"kedge_arm", std::string_view("live")}, {"n", std::int64_t{-5}}, {"q", 0.25}, {"t", true}};
    const InferResponse response = {"m", "1.0.0", id, parameters, outputs, line[3] == "1"};
    for (const Framing framing : {Framing::unary, Framing::stream}) {
      const Result<Buffer> encoded = encode(response, framing);
      REQUIRE(encoded.ok());
      const std::string_view bytes = as_text(encoded.value().view());
      CHECK(bytes.substr(frame_prefix_bytes) == unhex(line[framing == Framing::unary ? 0 : 1]));
      std::array<std::uint8_t, frame_prefix_bytes> prefix;
      write_frame_prefix(prefix.data(), bytes.size() - frame_prefix_bytes);
      CHECK(bytes.substr(0, frame_prefix_bytes) == as_text(prefix));
    }
  }
}

TEST_CASE(
    "damaged requests are refused where Python's parser refuses, and never called malformed where it does "
    "not") {
  InferRequest request;
  for (const auto& line : golden("malformed.txt")) {
    const std::string message = unhex(line[0]);
    Status status = decode(as_bytes(message), request);
    if (status.ok()) status = check_data(request);
    if (line[1] == "0") {
      CHECK_MESSAGE(status.code() == Code::kInvalidArgument, line[0]);
    } else {
      CHECK_MESSAGE(status.message().find("these bytes") == std::string::npos, line[0]);
    }
  }
}
