// A gRPC call as the server sees it, and the events of its life.
#pragma once

#include <chrono>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.hpp"
#include "wire/budget.hpp"
#include "wire/buffer.hpp"
#include "wire/frame.hpp"
#include "wire/memory.hpp"
#include "wire/session.hpp"

namespace kedge::wire {

// One request message, whole and inflated. It may move to another thread, but must end on its shard (its
// reservation does).
struct Message {
  Buffer bytes;
  Reservation reserved;
};

// How many messages a method's request has.
enum class Cardinality : std::uint8_t {
  unary,      // exactly one; delivered when the client has half-closed
  streaming,  // any number; delivered as they come
};

// What the handler decides once it sees the path.
struct Method {
  Cardinality cardinality = Cardinality::unary;
  bool keep_metadata = false;  // keep the path and copy every header into `Call::metadata`
  std::uint32_t tag = 0;       // the handler's own name for the method, so that the path is compared once
};

enum class Ended : std::uint8_t {
  answered,   // the last frame of the answer was handed to the socket
  cancelled,  // reset by the client, or the connection died, before that
};

class Call final : public Stream {
 public:
  explicit Call(std::int32_t id) : Stream(id) {}

  static void* operator new(std::size_t bytes) {
    void* const block = allocate(bytes);
    if (block == nullptr) throw std::bad_alloc();
    return block;
  }
  static void operator delete(void* block) { release(block); }

  // What the handler answered for the path.
  [[nodiscard]] const Method& method() const { return method_; }
  // The full path, such as /inference.GRPCInferenceService/ModelInfer, if `keep_metadata`; else empty.
  [[nodiscard]] std::string_view path() const { return path_; }
  // From grpc-timeout, counted from when the headers came; the caller owns the clock.
  [[nodiscard]] std::optional<std::chrono::nanoseconds> timeout() const { return timeout_; }
  // From x-kedge-key; empty if absent.
  [[nodiscard]] std::string_view key() const { return key_; }
  // Every header but pseudo ones, if `keep_metadata`.
  [[nodiscard]] const std::vector<std::pair<std::string, std::string>>& metadata() const { return metadata_; }
  // `finish` or `fail` was called: nothing more may be sent, and no further message comes.
  [[nodiscard]] bool done() const { return done_; }

  void* user = nullptr;  // the handler's own

 private:
  friend class GrpcSession;
  std::string path_;
  std::string key_;
  std::vector<std::pair<std::string, std::string>> metadata_;
  std::optional<std::chrono::nanoseconds> timeout_;
  Method method_;
  FrameReader frames_;
  std::optional<Message> unary_;  // received, waiting for half-close
  Buffer backlog_;                // bytes that came while paused
  std::size_t backlog_used_ = 0;  // of them, those delivered since
  Reservation backlog_reserved_;
  Reservation response_reserved_;
  Reservation overhead_;          // of the stream itself
  Status refusal_;                // found in the headers, answered when they end
  std::size_t header_bytes_ = 0;  // as RFC 9113 section 6.5.2 counts
  bool post_ = false;
  bool content_type_ok_ = false;
  bool unknown_encoding_ = false;
  bool opened_ = false;       // the handler was told
  bool started_ = false;      // response headers are out
  bool half_closed_ = false;  // the end of the request was handed on
  bool done_ = false;
  bool paused_ = false;
  bool resuming_ = false;
};

// Who answers. Events come from within GrpcSession::feed, resume, pull and abandon; answering within one is
// allowed.
class CallHandler {
 public:
  virtual ~CallHandler() = default;
  // Asked when :path is seen, before `on_call`. Unknown methods are the handler's to fail (UNIMPLEMENTED).
  virtual Method method(std::string_view path) = 0;
  // Headers are complete and valid.
  virtual void on_call(Call& call) = 0;
  // A whole message. Unary: the only one, and the client has half-closed.
  virtual void on_message(Call& call, Message&& message) = 0;
  // Streaming calls only: no more messages will come.
  virtual void on_half_close(Call& call) = 0;
  // The last event of every call that had `on_call`; `call` is gone afterwards.
  virtual void on_ended(Call& call, Ended how) = 0;
};

}  // namespace kedge::wire
