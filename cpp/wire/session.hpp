// An HTTP/2 server session, sans-I/O: bytes in by `feed`, events out through `StreamEvents`, bytes out by
// `pull`. nghttp2 does the protocol; this file adds limits, window accounting and bodies sent without copies.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/limits.hpp"
#include "wire/bytes.hpp"
#include "wire/output.hpp"

struct nghttp2_session;

namespace kedge::wire {

class Session;

// A response header or trailer. Names are lower case. Both views must outlive the session (literals) unless
// the header is given as `copied`.
struct Header {
  std::string_view name;
  std::string_view value;
  bool copied = false;
};

// grpc-status and grpc-message.
inline constexpr std::size_t max_trailers = 2;

// RFC 9113 section 7.
enum class H2Error : std::uint32_t {
  no_error = 0,
  protocol = 1,
  internal = 2,
  flow_control = 3,
  refused_stream = 7,
  cancel = 8,
  enhance_your_calm = 11,
};

// One HTTP/2 stream; owned by its session from `StreamEvents::open` until after `StreamEvents::closed`.
class Stream {
 public:
  explicit Stream(std::int32_t id) : id_(id) {}
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  virtual ~Stream() = default;

  [[nodiscard]] std::int32_t id() const { return id_; }
  // The peer has sent END_STREAM.
  [[nodiscard]] bool remote_ended() const { return remote_ended_; }
  // Response bytes that have not reached `pull` yet.
  [[nodiscard]] std::size_t unsent() const { return unsent_; }
  // Entries held for pieces of the body after the one under way, those already sent among them.
  [[nodiscard]] std::size_t held_pieces() const { return later_.size(); }

 private:
  friend class Session;
  friend struct SessionCallbacks;
  struct Piece {
    Buffer own;                            // used when `shared` is null
    std::shared_ptr<const Buffer> shared;  // large bodies: sent by reference
    std::size_t sent = 0;
    [[nodiscard]] Bytes rest() const { return (shared ? shared->view() : own.view()).subspan(sent); }
  };

  const std::int32_t id_;
  std::size_t index_ = 0;  // in Session::streams_
  bool remote_ended_ = false;
  bool responded_ = false;    // headers were submitted
  bool finished_ = false;     // nothing will be added to the body
  bool deferred_ = false;     // nghttp2 waits for more body
  Piece piece_;               // of the body, under way
  std::vector<Piece> later_;  // those that follow; an answer of one message has none
  std::size_t next_ = 0;      // the first of them that is still to come
  std::size_t unsent_ = 0;
  std::array<Header, max_trailers> trailers_;
  std::size_t trailer_count_ = 0;
  Buffer trailer_text_;  // what copied trailers point into
};

// What a session tells its user. Called from within `Session::feed`, `pull` and `abandon` only; responding
// from within an event is allowed, destroying the session is not.
class StreamEvents {
 public:
  virtual ~StreamEvents() = default;
  // Null: there is no room for another stream, it is refused.
  virtual std::unique_ptr<Stream> open(std::int32_t id) = 0;
  virtual void header(Stream& stream, std::string_view name, std::string_view value) = 0;
  virtual void headers_done(Stream& stream) = 0;
  // Body bytes, in order. The user takes them by `Session::taken`, at once or later; that opens the window
  // again.
  virtual void data(Stream& stream, Bytes bytes) = 0;
  // The peer sent END_STREAM.
  virtual void ended(Stream& stream) = 0;
  // The last event of a stream, however it ended.
  virtual void closed(Stream& stream, H2Error error) = 0;
};

// Bounds an operator may set.
struct SessionOptions {
  std::uint32_t max_concurrent_streams = limits::max_concurrent_streams;
};

class Session {
 public:
  Session(StreamEvents& events, const SessionOptions& options);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Takes what the socket (or TLS) delivered. False: the connection is over; pull what is left, write it,
  // close.
  bool feed(Bytes bytes);
  // Appends output until it holds `limits::output_high_water_bytes` or there is no more. Call after feed and
  // after responding.
  void pull(Output& out);
  // Whether the connection should be closed once all output is written.
  [[nodiscard]] bool over() const;
  // Of frames, other than bodies, that `pull` has not made yet; about.
  [[nodiscard]] std::size_t queued_bytes() const;
  // The client preface and its SETTINGS have arrived.
  [[nodiscard]] bool ready() const { return ready_; }
  [[nodiscard]] std::size_t open_streams() const { return streams_.size(); }

  // `count` body bytes have been taken from the stream: opens its window, and the connection's.
  void taken(Stream& stream, std::size_t count);
  // The same in two halves, for bytes kept back on purpose (their stream's window stays shut, the
  // connection's opens).
  void taken_from_connection(std::size_t count);
  void taken_from_stream(Stream& stream, std::size_t count);

  // Response headers; with `end` they are all there is ("trailers-only" in gRPC).
  void respond(Stream& stream, std::span<const Header> headers, bool end);
  // A piece of body, after `respond`.
  void write(Stream& stream, Buffer&& piece);
  // The end of the body, with trailers, of which there are at most `max_trailers`.
  void finish(Stream& stream, std::span<const Header> trailers);
  void reset(Stream& stream, H2Error error);
  // The stream with this id, or null if it is gone.
  [[nodiscard]] Stream* find(std::int32_t id) const;

  // Graceful end, first half: tells the peer to open no more streams; those it opens meanwhile are still
  // served.
  void announce_shutdown();
  // Second half, a round trip later: later streams are refused; `over` becomes true when the last one ends.
  void shutdown();
  // A peer that misbehaves: GOAWAY with `error`, and over.
  void terminate(H2Error error);
  // Once a second, say: forgives control frames counted so far. No clock is read here.
  void tick() { control_frames_ = 0; }
  // Ends every stream with `closed(cancel)`: the connection died. Nothing else may be called afterwards.
  void abandon();

 private:
  friend struct SessionCallbacks;
  bool check_preface(Bytes bytes);
  void resume(Stream& stream);
  static bool submit_trailers(nghttp2_session* session, std::int32_t id, std::span<const Header> trailers);
  void count_control_frame();

  StreamEvents& events_;
  const std::size_t max_outbound_frames_;
  nghttp2_session* session_ = nullptr;
  std::size_t preface_matched_ = 0;
  std::uint32_t control_frames_ = 0;
  bool ready_ = false;
  bool failed_ = false;
  bool http1_ = false;
  Output* out_ = nullptr;         // only during pull
  Stream* opening_ = nullptr;     // whose headers are arriving
  std::vector<Stream*> streams_;  // owned
};

}  // namespace kedge::wire
