#include "engine/seal.hpp"

#include <time.h>

#include <charconv>
#include <limits>
#include <stdexcept>

namespace kedge::engine {
namespace {

constexpr std::uint32_t kNumbers = std::uint32_t{std::numeric_limits<std::uint16_t>::max()} + 1;

// The first bytes of a bundle id, which is hexadecimal.
std::array<std::uint8_t, 8> first_bytes(std::string_view id) {
  std::array<std::uint8_t, 8> bytes{};
  for (std::size_t i = 0; i < bytes.size() && 2 * i + 2 <= id.size(); ++i) {
    const char* const at = id.data() + 2 * i;
    std::from_chars(at, at + 2, bytes[i], 16);
  }
  return bytes;
}

}  // namespace

void Sealing::use(const Key& key) {
  const std::lock_guard lock(mutex_);
  keys_.push_back(std::make_unique<const Key>(key));
  key_.store(keys_.back().get(), std::memory_order_release);
}

Sealing::Writer Sealing::take() {
  const std::lock_guard lock(mutex_);
  if (!free_.empty()) {
    const Writer writer = free_.back();
    free_.pop_back();
    return writer;
  }
  if (numbers_ == kNumbers) throw std::runtime_error("more threads than prediction ids can tell apart");
  return {static_cast<std::uint16_t>(numbers_++), 0};
}

void Sealing::give_back(Writer writer) {
  const std::lock_guard lock(mutex_);
  free_.push_back(writer);
}

bool Sealer::start(const Target& target) {
  const Sealing::Key* const key = sealing_.key();
  if (key == nullptr || !target.model->config().outcomes) return false;
  origin_ = &origins_.get([&] { return make(target, *key); }, target, key);
  origin_->prediction.seconds = static_cast<std::uint32_t>(time(nullptr));
  return true;
}

Sealer::Origin Sealer::make(const Target& target, const Sealing::Key& key) const {
  wire::Prediction prediction;
  prediction.bundle = first_bytes(target.model->config().bundle);
  prediction.epoch = static_cast<std::uint32_t>(target.epoch);
  prediction.boot = key.boot;
  prediction.shard = writer_.number;
  prediction.arm = static_cast<std::uint8_t>(target.arm);
  return {target.id, &key, wire::TokenSealer(key.key, prediction), prediction};
}

wire::TokenText Sealer::seal(std::uint32_t key_bits, std::uint16_t slice, const wire::Predicted& predicted) {
  wire::Prediction& prediction = origin_->prediction;
  prediction.sequence = writer_.next++;
  prediction.key_bits = key_bits;
  prediction.slice = slice;
  prediction.predicted = predicted;
  return origin_->sealer.seal(prediction);
}

}  // namespace kedge::engine
