#include "wire/base64url.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace kedge::wire;

namespace {

std::string encoded(std::string_view bytes) {
  std::string out(base64url_size(bytes.size()), '\0');
  encode_base64url(as_bytes(bytes), out.data());
  return out;
}

std::optional<std::string> decoded(std::string_view text) {
  std::string out(text.size(), '\0');
  const auto size = decode_base64url(text, reinterpret_cast<std::uint8_t*>(out.data()));
  if (!size) return std::nullopt;
  return out.substr(0, *size);
}

}  // namespace

TEST_CASE("RFC 4648's examples, without padding") {
  const std::string_view plain = "foobar";
  const std::string_view texts[] = {"", "Zg", "Zm8", "Zm9v", "Zm9vYg", "Zm9vYmE", "Zm9vYmFy"};
  for (std::size_t size = 0; size <= plain.size(); ++size) {
    CHECK(encoded(plain.substr(0, size)) == texts[size]);
    CHECK(decoded(texts[size]).value() == plain.substr(0, size));
  }
  CHECK(encoded("\xFB\xFF") == "-_8");
}

TEST_CASE("each byte string has one text only") {
  for (const auto* wrong : {"A", "AAAAA", "Zh", "Zm9", "Zg==", "Zm8=", "+/8", "Zg\n", "Z g", "\xFF\xFF"}) {
    CHECK_FALSE(decoded(wrong).has_value());
  }
}
