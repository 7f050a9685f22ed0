// The cold calls of one shard: who they belong to, by the number the answering thread knows them by.
#pragma once

#include <atomic>
#include <memory>
#include <unordered_map>

#include "engine/request.hpp"
#include "net/cold_queue.hpp"

namespace kedge::net {

class ColdCalls {
 public:
  static constexpr std::size_t kMaxOpen = 4096;                    // Watch streams opened and forgotten
  static constexpr std::size_t kMaxUnsent = std::size_t{1} << 20;  // a client that asks and does not read

  ColdCalls(std::uint32_t shard, ColdQueue* queue) : shard_(shard), queue_(queue) {}

  void open(engine::Peer& peer, wire::Call& call);
  void message(engine::Peer& peer, wire::Call& call, wire::Message&& message);
  void half_close(wire::Call& call);
  void ended(wire::Call& call);

  // Sends `payload`, if any; ends the call if `last`, with OK or an error. A call that has ended is no error.
  void reply(std::uint64_t number, const std::string* payload, bool last, Code code, const std::string& text);
  // Ends every call: the server goes away.
  void fail_all();

  std::size_t open_calls() const { return calls_.size(); }
  static std::uint32_t shard_of(std::uint64_t number) {
    return static_cast<std::uint32_t>(number >> kShardShift);
  }

 private:
  static constexpr int kShardShift = 48;
  struct Cold : engine::CallState {
    Cold() : CallState{Kind::cold} {}
    std::uint64_t number = 0;
    engine::Peer* peer = nullptr;
    wire::Call* call = nullptr;
  };
  static Cold* of(const wire::Call& call);
  void fail(Cold& cold, Code code, std::string_view text);

  std::uint32_t shard_;
  ColdQueue* queue_;
  std::uint64_t next_ = 1;
  std::unordered_map<std::uint64_t, std::unique_ptr<Cold>> calls_;
};

}  // namespace kedge::net
