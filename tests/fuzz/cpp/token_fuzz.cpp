// Prediction ids: a text that verifies is the one text of what it says, and no forgery verifies.
// Input: a text as a client may send it; its bytes also fill a record that is sealed, read back and bent.
#include <cstring>
#include <string>

#include "check.hpp"
#include "wire/token.hpp"

using namespace kedge;
using namespace kedge::wire;

namespace {

constexpr TokenKey key = {7, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};

// Takes a value from the front of `input`; zeros when it is used up.
template <class T>
T take(Bytes& input) {
  T value = {};
  const std::size_t size = std::min(sizeof value, input.size());
  if (size > 0) std::memcpy(&value, input.data(), size);
  input = input.subspan(size);
  return value;
}

Prediction fill(Bytes input) {
  Prediction prediction;
  prediction.bundle = take<std::array<std::uint8_t, 8>>(input);
  prediction.epoch = take<std::uint32_t>(input);
  prediction.boot = take<std::uint64_t>(input);
  prediction.shard = take<std::uint16_t>(input);
  prediction.sequence = take<std::uint64_t>(input) & 0xFFFFFFFFFFFF;
  prediction.seconds = take<std::uint32_t>(input);
  prediction.slice = take<std::uint16_t>(input);
  prediction.arm = take<std::uint8_t>(input) & 15;
  prediction.key_bits = take<std::uint32_t>(input) & 0xFFFFF;
  const auto kind = take<std::uint8_t>(input);
  if (kind % 3 == 1) {
    const auto value = take<std::array<std::int32_t, 3>>(input);  // integers: NaN would not equal itself
    prediction.predicted = PredictedValue{double(value[0]), double(value[1]), double(value[2])};
  } else if (kind % 3 == 2) {
    PredictedClass predicted;
    predicted.label = take<std::uint16_t>(input);
    predicted.count = kind / 3 % 9;
    for (std::size_t i = 0; i < predicted.count; ++i) predicted.probabilities[i] = take<std::uint16_t>(input);
    prediction.predicted = predicted;
  }
  return prediction;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const Result<Prediction> read = decode_token(text, {&key, 1});
  if (read.ok()) KEDGE_DEMAND(TokenSealer(key, read.value()).seal(read.value()).view() == text);

  const Prediction prediction = fill({data, size});
  const TokenSealer sealer(key, prediction);
  const TokenText token = sealer.seal(prediction);
  const Result<Prediction> back = decode_token(token.view(), {&key, 1});
  KEDGE_DEMAND(back.ok() && back.value() == prediction);
  // A sealer goes on with what else its writer predicts.
  Prediction next = fill({data + size / 2, size - size / 2});
  next.bundle = prediction.bundle;
  next.epoch = prediction.epoch;
  next.boot = prediction.boot;
  next.shard = prediction.shard;
  const Result<Prediction> after = decode_token(sealer.seal(next).view(), {&key, 1});
  KEDGE_DEMAND(after.ok() && after.value() == next);
  if (size > 1) {
    std::string bent(token.view());
    char& c = bent[data[0] % bent.size()];
    const char other = static_cast<char>(data[1]);
    if (other != c) {
      c = other;
      KEDGE_DEMAND(!decode_token(bent, {&key, 1}).ok());
    }
  }
  return 0;
}
