#include "wire/grpc_text.hpp"

#include <doctest/doctest.h>

#include "base/limits.hpp"

using namespace kedge;
using namespace kedge::wire;
using std::chrono::nanoseconds;

TEST_CASE("content types") {
  CHECK(is_grpc_content_type("application/grpc"));
  CHECK(is_grpc_content_type("application/grpc+proto"));
  CHECK(is_grpc_content_type("application/grpc;x=y"));
  CHECK(is_grpc_content_type("application/grpc+proto;x=y"));
  for (const auto* other : {"", "application/grpc-web", "application/grpc+json", "application/grpc ",
                            "application/grpc+protobuf", "text/plain", "application/grp"}) {
    CHECK_FALSE(is_grpc_content_type(other));
  }
}

TEST_CASE("grpc-timeout in every unit") {
  CHECK(parse_grpc_timeout("1H") == nanoseconds(3'600'000'000'000));
  CHECK(parse_grpc_timeout("2M") == nanoseconds(120'000'000'000));
  CHECK(parse_grpc_timeout("3S") == nanoseconds(3'000'000'000));
  CHECK(parse_grpc_timeout("4m") == nanoseconds(4'000'000));
  CHECK(parse_grpc_timeout("5u") == nanoseconds(5'000));
  CHECK(parse_grpc_timeout("99999999n") == nanoseconds(99'999'999));
  CHECK(parse_grpc_timeout("0n") == nanoseconds(0));
  CHECK(parse_grpc_timeout("99999999H") == nanoseconds::max());
  for (const auto* wrong : {"", "5", "S", "-1S", "+1S", "1.5S", "123456789S", "1s", "1 S", "0x1S"}) {
    CHECK_FALSE(parse_grpc_timeout(wrong).has_value());
  }
}

TEST_CASE("grpc-message is percent-encoded") {
  CHECK(encode_grpc_message("plain ~text") == "plain ~text");
  CHECK(encode_grpc_message("100% \n\x7F") == "100%25 %0A%7F");
  CHECK(encode_grpc_message("\xC3\xA9") == "%C3%A9");
}

TEST_CASE("a long grpc-message is cut between characters") {
  std::string text(limits::max_status_message_bytes - 1, 'x');
  text += "\xC3\xA9";
  CHECK(encode_grpc_message(text) == std::string(limits::max_status_message_bytes - 1, 'x'));
  CHECK(encode_grpc_message(std::string(5000, 'y')).size() == limits::max_status_message_bytes);
}
