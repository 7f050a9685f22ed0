// Prediction ids on the answer path: with what they are sealed, and which writer seals under which number.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/recent.hpp"
#include "engine/route_table.hpp"
#include "wire/token.hpp"

namespace kedge::engine {

// Low bits of a sticky hash that a token carries.
inline constexpr std::uint64_t kKeyBitsMask = 0xFFFFF;

// Shared by every writer, and outlives them.
class Sealing {
 public:
  struct Key {
    wire::TokenKey key;
    std::uint64_t boot = 0;
  };
  // What makes ids of one boot differ: the number a writer seals under, and its next sequence.
  struct Writer {
    std::uint16_t number = 0;
    std::uint64_t next = 0;
  };

  // Seals with `key` from the next batch on. Any thread.
  void use(const Key& key);
  // Null until there is one.
  const Key* key() const { return key_.load(std::memory_order_acquire); }

  // A number no other writer has. One that is given back goes on where it ended under its next holder, so
  // loading and retiring models for ever needs no more numbers than there are threads at once. Throws
  // std::runtime_error if 65,536 are taken.
  Writer take();
  void give_back(Writer writer);

 private:
  std::atomic<const Key*> key_{nullptr};
  std::mutex mutex_;
  std::vector<std::unique_ptr<const Key>>
      keys_;  // all there were: a writer may be using any, and keys are few
  std::vector<Writer> free_;
  std::uint32_t numbers_ = 0;
};

// One thread's way to seal.
class Sealer {
 public:
  explicit Sealer(Sealing& sealing) : sealing_(sealing), writer_(sealing.take()) {}
  ~Sealer() { sealing_.give_back(writer_); }
  Sealer(const Sealer&) = delete;
  Sealer& operator=(const Sealer&) = delete;

  // Ids sealed from now on are of this target and moment. False: there is no key, or its bundle wants no
  // outcomes.
  bool start(const Target& target);
  wire::TokenText seal(std::uint32_t key_bits, std::uint16_t slice, const wire::Predicted& predicted);

 private:
  // A target under a key: what its tokens have in common.
  struct Origin {
    std::uint64_t target = 0;  // Target::id
    const Sealing::Key* key = nullptr;
    wire::TokenSealer sealer;
    wire::Prediction prediction;

    bool is(const Target& asked, const Sealing::Key* with) const { return target == asked.id && key == with; }
  };
  Origin make(const Target& target, const Sealing::Key& key) const;

  Sealing& sealing_;
  Sealing::Writer writer_;
  Recent<Origin> origins_;
  Origin* origin_ = nullptr;  // of the last `start`
};

}  // namespace kedge::engine
