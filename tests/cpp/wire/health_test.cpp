#include "wire/health.hpp"

#include <doctest/doctest.h>

#include "message.hpp"

using namespace kedge;
using namespace kedge::wire;
using namespace kedge::wire::test;

TEST_CASE("readiness and health requests are read") {
  const std::string ready = bytes(1, "m") + bytes(2, "1.0.0") + number(9, 1);
  CHECK(decode_model_ready(as_bytes(ready)).value().name == "m");
  CHECK(decode_model_ready(as_bytes(ready)).value().version == "1.0.0");
  CHECK(decode_model_ready({}).value().name.empty());
  CHECK(decode_health_check(as_bytes(bytes(1, "service"))).value() == "service");
  CHECK(decode_empty(as_bytes(number(1, 1))).ok());
}

TEST_CASE("damaged ones are INVALID_ARGUMENT") {
  CHECK(decode_model_ready(as_bytes("\x0A")).status().code() == Code::kInvalidArgument);
  CHECK(decode_model_ready(as_bytes(bytes(1, "\xFF"))).status().code() == Code::kInvalidArgument);
  CHECK(decode_health_check(as_bytes("\x0A\x05x")).status().code() == Code::kInvalidArgument);
  CHECK(decode_empty(as_bytes("\x0F")).code() == Code::kInvalidArgument);
}

TEST_CASE("answers are framed, and false is left out") {
  CHECK(as_text(encode_bool(true).view()) == std::string("\0\0\0\0\2\x08\1", 7));
  CHECK(as_text(encode_bool(false).view()) == std::string("\0\0\0\0\0", 5));
  CHECK(as_text(encode_health(Serving::service_unknown).view()) == std::string("\0\0\0\0\2\x08\3", 7));
}
