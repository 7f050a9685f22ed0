#include "load/answer.hpp"

#include <doctest/doctest.h>

#include <random>
#include <vector>

#include "peer.hpp"

using kedge::load::Answer;
using kedge::load::decode;
using kedge::load::test::answer_message;
using kedge::wire::as_bytes;

TEST_CASE("An answer says who gave it and to what") {
  const std::string message = answer_message("0000002a", "3", "b", "token");
  Answer answer;
  REQUIRE(decode(as_bytes(message), answer));
  CHECK(answer.version == "3");
  CHECK(answer.id == "0000002a");
  CHECK(answer.bundle == "b");
  CHECK(answer.prediction_id == "token");
}

TEST_CASE("The answer of another server has neither bundle nor prediction id") {
  Answer answer;
  REQUIRE(decode(as_bytes(answer_message("1", "2", "", "")), answer));
  CHECK(answer.bundle.empty());
  CHECK(answer.prediction_id.empty());
}

TEST_CASE("Cut and damaged answers are refused or read, never read past") {
  const std::string whole = answer_message("0000002a", "3", "bundle", "token");
  std::mt19937 random(3);
  Answer answer;
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const std::vector<std::uint8_t> cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    static_cast<void>(decode(cut, answer));
  }
  for (int turn = 0; turn < 5000; ++turn) {
    std::vector<std::uint8_t> damaged(whole.begin(), whole.end());
    damaged[random() % damaged.size()] = static_cast<std::uint8_t>(random());
    static_cast<void>(decode(damaged, answer));
  }
  CHECK_FALSE(decode(as_bytes(whole.substr(0, 1)), answer));
}
