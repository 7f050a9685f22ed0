#include "wire/siphash.hpp"

#include <doctest/doctest.h>

#include "golden.hpp"

using namespace kedge::wire;
using namespace kedge::wire::test;

TEST_CASE("the paper's example") {
  // Aumasson and Bernstein 2012, appendix A: key 00..0f, message 00..0e.
  SipKey key;
  for (std::uint8_t i = 0; i < 16; ++i) key[i] = i;
  std::vector<std::uint8_t> message;
  for (std::uint8_t i = 0; i < 15; ++i) message.push_back(i);
  CHECK(siphash24(key, message) == 0xA129CA6149BE45E5);
  CHECK(siphash24(key, {}) == 0x726FDB47DD0E0E31);
}

TEST_CASE("every length agrees with the portable plane, whole and in pieces") {
  for (const auto& line : golden("siphash.txt")) {
    SipKey key;
    const std::string key_bytes = unhex(line[0]);
    std::copy(key_bytes.begin(), key_bytes.end(), key.begin());
    const std::string message = unhex(line[1]);
    CHECK(siphash24(key, as_bytes(message)) == std::stoull(line[2]));
    SipHash hash(key);
    for (const char c : message) hash.update(as_bytes({&c, 1}));
    CHECK(hash.digest() == std::stoull(line[2]));
  }
}
