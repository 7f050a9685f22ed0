#include "wire/token.hpp"

#include <openssl/crypto.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

#include "base/limits.hpp"
#include "wire/base64url.hpp"

namespace kedge::wire {

namespace {

constexpr std::uint8_t layout_version = 1;
constexpr std::size_t tag_bytes = sizeof(std::uint64_t);
constexpr std::size_t fixed_bytes = 40;
constexpr std::size_t max_bytes = 72;
constexpr std::size_t max_probabilities = 8;
constexpr std::uint64_t sequence_mask = 0xFFFFFFFFFFFF;
constexpr std::uint32_t key_bits_mask = 0xFFFFF;
static_assert(base64url_size(max_bytes) == limits::max_token_chars);

enum Kind : std::uint8_t { no_prediction = 0, value_prediction = 1, class_prediction = 2 };

class Writer {
 public:
  explicit Writer(std::uint8_t* to) : at_(to) {}
  void put(std::uint64_t value, std::size_t bytes) {
    for (std::size_t i = 0; i < bytes; ++i) *at_++ = static_cast<std::uint8_t>(value >> (8 * i));
  }
  void put(double value) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    put(bits, sizeof bits);
  }
  [[nodiscard]] std::uint8_t* at() const { return at_; }

 private:
  std::uint8_t* at_;
};

class Reader {
 public:
  explicit Reader(const std::uint8_t* from) : at_(from) {}
  std::uint64_t take(std::size_t bytes) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < bytes; ++i) value |= std::uint64_t{*at_++} << (8 * i);
    return value;
  }
  template <class T>
  T take() {
    return static_cast<T>(take(sizeof(T)));
  }
  double take_double() {
    const std::uint64_t bits = take(sizeof(double));
    double value = 0;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }

 private:
  const std::uint8_t* at_;
};

void write_predicted(Writer& writer, const Predicted& predicted) {
  if (const auto* value = std::get_if<PredictedValue>(&predicted)) {
    writer.put(value_prediction, 1);
    writer.put(value->value);
    writer.put(value->lower);
    writer.put(value->upper);
  } else if (const auto* label = std::get_if<PredictedClass>(&predicted)) {
    const std::size_t count = std::min<std::size_t>(label->count, max_probabilities);
    writer.put(class_prediction | count << 4, 1);
    writer.put(label->label, sizeof label->label);
    for (std::size_t i = 0; i < count; ++i) writer.put(label->probabilities[i], sizeof(std::uint16_t));
  } else {
    writer.put(no_prediction, 1);
  }
}

// Bytes before the tag, given the kind byte; none for a kind there is not.
std::optional<std::size_t> body_size(std::uint8_t kind_byte) {
  const std::size_t count = kind_byte >> 4;
  switch (kind_byte & 15) {
    case no_prediction:
      return count == 0 ? std::optional(fixed_bytes) : std::nullopt;
    case value_prediction:
      return count == 0 ? std::optional(fixed_bytes + 3 * sizeof(double)) : std::nullopt;
    case class_prediction:
      if (count > max_probabilities) return std::nullopt;
      return fixed_bytes + (1 + count) * sizeof(std::uint16_t);
    default:
      return std::nullopt;
  }
}

Predicted read_predicted(Reader& reader) {
  const auto kind_byte = reader.take<std::uint8_t>();
  if (kind_byte == value_prediction) {
    const double value = reader.take_double();
    const double lower = reader.take_double();
    const double upper = reader.take_double();
    return PredictedValue{value, lower, upper};
  }
  if (kind_byte == no_prediction) return {};
  PredictedClass predicted;
  predicted.label = reader.take<std::uint16_t>();
  predicted.count = kind_byte >> 4;
  for (std::size_t i = 0; i < predicted.count; ++i) predicted.probabilities[i] = reader.take<std::uint16_t>();
  return predicted;
}

Status not_a_token() { return {Code::kInvalidArgument, "not a prediction id of this service"}; }

}  // namespace

std::uint16_t quantize_probability(double p) {
  if (!(p > 0)) return 0;  // NaN too
  return static_cast<std::uint16_t>(
      std::lround(std::min(p, 1.0) * std::numeric_limits<std::uint16_t>::max()));
}

TokenSealer::TokenSealer(const TokenKey& key, const Prediction& origin) : hash_(key.secret) {
  std::array<std::uint8_t, origin_bytes> bytes;
  Writer writer(bytes.data());
  writer.put(layout_version, 1);
  writer.put(key.id, 1);
  for (const std::uint8_t byte : origin.bundle) writer.put(byte, 1);
  writer.put(origin.epoch, sizeof origin.epoch);
  writer.put(origin.boot, sizeof origin.boot);
  writer.put(origin.shard, sizeof origin.shard);
  hash_.update(bytes);
  encode_base64url(bytes, chars_.data());
}

TokenText TokenSealer::seal(const Prediction& prediction) const {
  std::array<std::uint8_t, max_bytes - origin_bytes> bytes;
  Writer writer(bytes.data());
  writer.put(prediction.sequence & sequence_mask, 6);
  writer.put(prediction.seconds, sizeof prediction.seconds);
  writer.put(prediction.slice, sizeof prediction.slice);
  writer.put((prediction.arm & 15u) | (prediction.key_bits & key_bits_mask) << 4, 3);
  write_predicted(writer, prediction.predicted);
  const auto body = static_cast<std::size_t>(writer.at() - bytes.data());
  SipHash hash = hash_;
  hash.update(Bytes(bytes.data(), body));
  writer.put(hash.digest(), tag_bytes);
  TokenText text;
  std::memcpy(text.chars_.data(), chars_.data(), chars_.size());
  encode_base64url(Bytes(bytes.data(), body + tag_bytes), text.chars_.data() + chars_.size());
  text.size_ = static_cast<std::uint8_t>(base64url_size(origin_bytes + body + tag_bytes));
  return text;
}

Result<Prediction> decode_token(std::string_view text, std::span<const TokenKey> keys) {
  if (text.size() > limits::max_token_chars) return not_a_token();
  std::array<std::uint8_t, max_bytes> bytes;
  const std::optional<std::size_t> size = decode_base64url(text, bytes.data());
  if (!size || *size < fixed_bytes + tag_bytes) return not_a_token();
  Reader reader(bytes.data());
  if (reader.take<std::uint8_t>() != layout_version) return not_a_token();
  const std::optional<std::size_t> body = body_size(bytes[fixed_bytes - 1]);
  if (!body || *size != *body + tag_bytes) return not_a_token();
  const auto key_id = reader.take<std::uint8_t>();
  const auto key =
      std::find_if(keys.begin(), keys.end(), [&](const TokenKey& one) { return one.id == key_id; });
  if (key == keys.end()) {
    return Status{Code::kNotFound,
                  "this prediction id was sealed with a key that is gone; it is too old or foreign"};
  }
  const std::uint64_t tag = siphash24(key->secret, Bytes(bytes.data(), *body));
  if (CRYPTO_memcmp(&tag, bytes.data() + *body, tag_bytes) != 0) return not_a_token();

  Prediction prediction;
  for (std::uint8_t& byte : prediction.bundle) byte = reader.take<std::uint8_t>();
  prediction.epoch = reader.take<std::uint32_t>();
  prediction.boot = reader.take<std::uint64_t>();
  prediction.shard = reader.take<std::uint16_t>();
  prediction.sequence = reader.take(6);
  prediction.seconds = reader.take<std::uint32_t>();
  prediction.slice = reader.take<std::uint16_t>();
  const auto arm_and_key = static_cast<std::uint32_t>(reader.take(3));
  prediction.arm = arm_and_key & 15;
  prediction.key_bits = arm_and_key >> 4;
  prediction.predicted = read_predicted(reader);
  return prediction;
}

}  // namespace kedge::wire
