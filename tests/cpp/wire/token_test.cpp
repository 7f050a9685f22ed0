#include "wire/token.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

using namespace kedge;
using namespace kedge::wire;

namespace {

constexpr TokenKey key = {3, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};

Prediction example(Predicted predicted) {
  return {.bundle = {0xDE, 0xAD, 0xBE, 0xEF, 1, 2, 3, 4},
          .epoch = 0xFFFFFFFF,
          .boot = 0x0123456789ABCDEF,
          .shard = 65535,
          .sequence = 0xFFFFFFFFFFFF,
          .seconds = 1'700'000'000,
          .slice = 513,
          .arm = 2,
          .key_bits = 0xFFFFF,
          .predicted = predicted};
}

TokenText seal(const Prediction& prediction, const TokenKey& by) {
  return TokenSealer(by, prediction).seal(prediction);
}

std::vector<Prediction> examples() {
  std::vector<Prediction> all = {Prediction{}, example({}),
                                 example(PredictedValue{1.5, -2.0, std::numeric_limits<double>::infinity()})};
  for (std::uint8_t count = 0; count <= 8; ++count) {
    PredictedClass predicted{.label = 65535, .count = count};
    for (std::uint8_t i = 0; i < count; ++i)
      predicted.probabilities[i] = static_cast<std::uint16_t>(1000 * i + 7);
    all.push_back(example(predicted));
  }
  return all;
}

}  // namespace

TEST_CASE("what was sealed is what is read, in at most 96 characters") {
  for (const Prediction& prediction : examples()) {
    const TokenText token = seal(prediction, key);
    CHECK(token.view().size() <= 96);
    const Result<Prediction> read = decode_token(token.view(), {&key, 1});
    REQUIRE(read.ok());
    CHECK(read.value() == prediction);
  }
}

TEST_CASE("the layout does not move") {
  // Golden text of layout 1: tokens live in clients for weeks, and later versions must read them.
  const PredictedClass predicted{.label = 1, .count = 2, .probabilities = {16384, 49151}};
  const std::string_view golden = "AQPerb7vAQIDBP_____vzauJZ0UjAf__________APFTZQEC8v__IgEAAED_vyoPq-Mf1wiT";
  const TokenText token = seal(example(predicted), key);
  CHECK(token.view() == golden);
}

TEST_CASE("a sealer makes of every prediction of its origin the text it has alone") {
  const TokenSealer sealer(key, example({}));
  for (const Prediction& prediction : examples()) {
    Prediction of_origin = example(prediction.predicted);
    of_origin.sequence = prediction.sequence;
    of_origin.seconds = prediction.seconds;
    of_origin.arm = prediction.arm;
    CHECK(sealer.seal(of_origin).view() == seal(of_origin, key).view());
    CHECK(decode_token(sealer.seal(of_origin).view(), {&key, 1}).value() == of_origin);
  }
}

TEST_CASE("no interval is NaN") {
  constexpr double none = std::numeric_limits<double>::quiet_NaN();
  const TokenText token = seal(example(PredictedValue{2.0, none, none}), key);
  const Result<Prediction> read = decode_token(token.view(), {&key, 1});
  const auto& value = std::get<PredictedValue>(read.value().predicted);
  CHECK(value.value == 2.0);
  CHECK(std::isnan(value.lower));
}

TEST_CASE("any single changed character is refused") {
  for (const Prediction& prediction : examples()) {
    const std::string good(seal(prediction, key).view());
    for (std::size_t i = 0; i < good.size(); ++i) {
      for (const char c : {'A', 'B', '_', '!', '\0'}) {
        if (good[i] == c) continue;
        std::string changed = good;
        changed[i] = c;
        CHECK_FALSE(decode_token(changed, {&key, 1}).ok());
      }
    }
    for (std::size_t size = 0; size < good.size(); ++size)
      CHECK_FALSE(decode_token(good.substr(0, size), {&key, 1}).ok());
    CHECK_FALSE(decode_token(good + "A", {&key, 1}).ok());
  }
}

TEST_CASE("old keys verify while they are known, by their id") {
  const TokenKey other = {4, {9}};
  const TokenText token = seal(example({}), key);
  const std::vector<TokenKey> both = {other, key};
  CHECK(decode_token(token.view(), both).ok());
  CHECK(decode_token(token.view(), {&other, 1}).status().code() == Code::kNotFound);
  const TokenKey impostor = {3, {9}};
  CHECK(decode_token(token.view(), {&impostor, 1}).status().code() == Code::kInvalidArgument);
}

TEST_CASE("a text of any length is refused unread when too long") {
  CHECK(decode_token(std::string(1'000'000, 'A'), {&key, 1}).status().code() == Code::kInvalidArgument);
}

TEST_CASE("probabilities are clamped and rounded") {
  CHECK(quantize_probability(0.0) == 0);
  CHECK(quantize_probability(1.0) == 65535);
  CHECK(quantize_probability(0.5) == 32768);
  CHECK(quantize_probability(-1.0) == 0);
  CHECK(quantize_probability(2.0) == 65535);
  CHECK(quantize_probability(std::numeric_limits<double>::quiet_NaN()) == 0);
}
