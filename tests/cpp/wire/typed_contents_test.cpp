// Typed answers, type by type, read back by the request's own reader of contents.
#include "wire/typed_contents.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "elements.hpp"
#include "message.hpp"

using namespace kedge;
using namespace kedge::wire;
using namespace kedge::wire::test;

namespace {

template <class T>
void round_trip(DType dtype, std::vector<T> values) {
  const Bytes data(reinterpret_cast<const std::uint8_t*>(values.data()), values.size() * sizeof(T));
  const std::vector<std::int64_t> shape = {static_cast<std::int64_t>(values.size())};
  const OutputView output = {"y", dtype, shape, data, {}};
  std::string contents(typed_contents_size(output), '\0');
  ProtoWriter writer(reinterpret_cast<std::uint8_t*>(contents.data()));
  write_typed_contents(writer, output);
  CHECK(writer.at() == reinterpret_cast<const std::uint8_t*>(contents.data() + contents.size()));
  const std::string message = bytes(1, "m") + input("y", info(dtype).name, shape, bytes(5, contents));
  InferRequest request;
  REQUIRE(decode(as_bytes(message), request).ok());
  REQUIRE(check_data(request).ok());
  CHECK(elements(request.inputs[0]) == as_text(data));
}

}  // namespace

TEST_CASE("every numeric type comes back from its typed form, ends of its range included") {
  round_trip<std::int8_t>(DType::int8, {-128, -1, 0, 127});
  round_trip<std::int16_t>(DType::int16, {-32768, -1, 0, 32767});
  round_trip<std::int32_t>(DType::int32, {INT32_MIN, -1, 0, INT32_MAX});
  round_trip<std::int64_t>(DType::int64, {INT64_MIN, -1, 0, INT64_MAX});
  round_trip<std::uint8_t>(DType::uint8, {0, 255});
  round_trip<std::uint16_t>(DType::uint16, {0, 65535});
  round_trip<std::uint32_t>(DType::uint32, {0, UINT32_MAX});
  round_trip<std::uint64_t>(DType::uint64, {0, UINT64_MAX});
  round_trip<std::uint8_t>(DType::boolean, {0, 1, 1});
  round_trip<float>(DType::fp32, {-0.0f, 1.5f});
  round_trip<double>(DType::fp64, {-0.0, 1e300});
  round_trip<float>(DType::fp32, {});
}
