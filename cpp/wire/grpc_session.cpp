#include "wire/grpc_session.hpp"

#include <array>

#include "wire/grpc_text.hpp"
#include "wire/quote.hpp"

namespace kedge::wire {

namespace {

constexpr Header status_200 = {":status", "200"};
constexpr Header grpc_content = {"content-type", "application/grpc"};
constexpr std::array<Header, 2> answer_headers = {status_200, grpc_content};
constexpr std::array<Header, 1> ok_trailers = {Header{"grpc-status", "0"}};
constexpr std::string_view too_busy =
    "too many message bytes in flight; try again later or on another connection";
constexpr std::string_view unread = "too many bytes of answers wait for this client to read them";

std::string_view status_text(Code code) {
  constexpr std::array<std::string_view, 17> texts = {"0", "1",  "2",  "3",  "4",  "5",  "6",  "7", "8",
                                                      "9", "10", "11", "12", "13", "14", "15", "16"};
  return texts[static_cast<std::size_t>(code)];
}

Call& call_of(Stream& stream) { return static_cast<Call&>(stream); }

}  // namespace

GrpcSession::GrpcSession(CallHandler& handler, Budget& shard, const GrpcOptions& options)
    : handler_(handler),
      options_(options),
      budget_(Budget::make(options.max_connection_bytes, &shard)),
      session_(*this, SessionOptions{.max_concurrent_streams = options.max_concurrent_streams}) {}

GrpcSession::~GrpcSession() = default;

std::unique_ptr<Stream> GrpcSession::open(std::int32_t id) {
  auto call = std::make_unique<Call>(id);
  return call->overhead_.add(*budget_, limits::stream_overhead_bytes) ? std::move(call) : nullptr;
}

void GrpcSession::header(Stream& stream, std::string_view name, std::string_view value) {
  Call& call = call_of(stream);
  constexpr std::size_t entry_overhead = 32;  // RFC 9113 section 6.5.2
  call.header_bytes_ += name.size() + value.size() + entry_overhead;
  if (call.header_bytes_ > limits::max_header_list_bytes) {
    if (call.refusal_.ok()) {
      call.refusal_ =
          Status(Code::kResourceExhausted,
                 "request headers larger than " + std::to_string(limits::max_header_list_bytes) + " bytes");
    }
    return;
  }
  if (name.front() == ':') {
    if (name == ":path") {
      call.method_ = handler_.method(value);
      if (call.method_.keep_metadata) call.path_ = value;
    } else if (name == ":method") {
      call.post_ = value == "POST";
    }
    return;
  }
  if (name == "content-type") {
    call.content_type_ok_ = is_grpc_content_type(value);
  } else if (name == "grpc-timeout") {
    call.timeout_ = parse_grpc_timeout(value);
    if (!call.timeout_ && call.refusal_.ok()) {
      call.refusal_ = Status(Code::kInvalidArgument, "malformed grpc-timeout " + quoted(value) +
                                                         "; expected 1 to 8 digits and one of HMSmun");
    }
  } else if (name == "grpc-encoding") {
    if (value == "gzip") {
      call.frames_.set_gzip(true);
    } else if (value != "identity") {
      call.refusal_ = Status(Code::kUnimplemented,
                             "grpc-encoding " + quoted(value) + " is not supported; use identity or gzip");
      call.unknown_encoding_ = true;
    }
  } else if (name == "x-kedge-key") {
    if (keep(call, value.size())) call.key_ = value;
  }
  if (call.method_.keep_metadata && keep(call, name.size() + value.size() + sizeof call.metadata_.front()))
    call.metadata_.emplace_back(name, value);
}

// Counts bytes of a header that is kept. False: there is no room for it, and the call is refused.
bool GrpcSession::keep(Call& call, std::size_t bytes) {
  if (call.overhead_.add(*budget_, bytes)) return true;
  if (call.refusal_.ok()) call.refusal_ = Status(Code::kResourceExhausted, std::string(too_busy));
  return false;
}

void GrpcSession::headers_done(Stream& stream) {
  Call& call = call_of(stream);
  if (!call.post_ || !call.content_type_ok_) {
    // Not gRPC: an HTTP status, for a client that cannot read anything else.
    const Header wrong = {":status", call.post_ ? "415" : "405"};
    call.done_ = true;
    session_.respond(call, {&wrong, 1}, true);
    return;
  }
  if (!call.refusal_.ok()) {
    fail(call, call.refusal_);
    return;
  }
  call.opened_ = true;
  handler_.on_call(call);
}

void GrpcSession::data(Stream& stream, Bytes bytes) {
  Call& call = call_of(stream);
  session_.taken_from_connection(bytes.size());
  std::size_t used = 0;
  if (call.backlog_.empty()) used = deliver(call, bytes);
  if (call.done_) {
    // Whatever else comes is dropped; the window stays shut, and a reset is on its way.
    return;
  }
  const Bytes rest = bytes.subspan(used);
  if (!rest.empty()) {
    if (!call.backlog_reserved_.add(*budget_, rest.size())) {
      fail(call, Code::kResourceExhausted, too_busy);
      return;
    }
    call.backlog_.append(rest);
  }
  session_.taken_from_stream(call, used);
}

std::size_t GrpcSession::deliver(Call& call, Bytes bytes) {
  const std::size_t whole = bytes.size();
  while (!bytes.empty() && !call.done_ && !call.paused_) {
    const FrameReader::Step step = call.frames_.feed(bytes, *budget_, options_.max_message_bytes);
    if (step == FrameReader::Step::more) break;
    if (step == FrameReader::Step::failed) {
      fail(call, call.frames_.status());
      break;
    }
    session_.tick();
    Message message{call.frames_.take_bytes(), call.frames_.take_reservation()};
    if (call.method_.cardinality == Cardinality::streaming) {
      handler_.on_message(call, std::move(message));
    } else if (call.unary_) {
      fail(call, Code::kInternal, "more than one message in a unary request");
    } else {
      call.unary_ = std::move(message);
    }
  }
  return whole - bytes.size();
}

void GrpcSession::resume(Call& call) {
  call.paused_ = false;
  // A handler may resume from within a delivery that `resume` itself began.
  if (call.done_ || call.resuming_) return;
  if (!call.backlog_.empty()) {
    call.resuming_ = true;
    const std::size_t used = deliver(call, call.backlog_.view().subspan(call.backlog_used_));
    call.resuming_ = false;
    if (call.done_) {
      call.backlog_ = Buffer();
      call.backlog_reserved_.release();
      return;
    }
    call.backlog_used_ += used;
    session_.taken_from_stream(call, used);
    trim_backlog(call);
  }
  if (call.backlog_.empty() && !call.paused_ && call.remote_ended()) half_close(call);
}

void GrpcSession::trim_backlog(Call& call) {
  // Moved down only when half of it is used, so that many small steps stay linear.
  if (call.backlog_used_ * 2 < call.backlog_.size()) return;
  call.backlog_.drop_front(call.backlog_used_);
  call.backlog_used_ = 0;
  call.backlog_reserved_.shrink(call.backlog_.size());
  if (call.backlog_.empty()) {
    call.backlog_ = Buffer();
    call.backlog_reserved_.release();
  }
}

void GrpcSession::ended(Stream& stream) {
  Call& call = call_of(stream);
  if (call.backlog_.empty() && !call.paused_) half_close(call);
}

void GrpcSession::half_close(Call& call) {
  if (call.done_ || call.half_closed_) return;
  call.half_closed_ = true;
  if (call.frames_.partial()) {
    fail(call, Code::kInternal, "the request ended inside a message");
    return;
  }
  if (call.method_.cardinality == Cardinality::streaming) {
    handler_.on_half_close(call);
    return;
  }
  if (!call.unary_) {
    fail(call, Code::kInternal, "a unary request without a message");
    return;
  }
  Message message = std::move(*call.unary_);
  call.unary_.reset();
  handler_.on_message(call, std::move(message));
}

void GrpcSession::closed(Stream& stream, H2Error error) {
  Call& call = call_of(stream);
  const bool answered = call.done_ && error == H2Error::no_error && call.unsent() == 0;
  call.done_ = true;
  if (call.opened_) handler_.on_ended(call, answered ? Ended::answered : Ended::cancelled);
}

void GrpcSession::start(Call& call) {
  if (call.started_) return;
  call.started_ = true;
  session_.respond(call, answer_headers, false);
}

void GrpcSession::send(Call& call, Buffer&& framed) {
  if (call.done_) return;
  // A client that does not read its answers gets no more of them than its connection may hold.
  call.response_reserved_.shrink(call.unsent());
  if (!call.response_reserved_.overdraw(*budget_, framed.size())) {
    fail(call, Code::kResourceExhausted, unread);
    return;
  }
  start(call);
  session_.write(call, std::move(framed));
}

void GrpcSession::finish(Call& call, Buffer&& framed) {
  send(call, std::move(framed));
  finish(call);
}

void GrpcSession::finish(Call& call) {
  if (call.done_) return;
  start(call);
  call.done_ = true;
  session_.finish(call, ok_trailers);
}

void GrpcSession::fail(Call& call, Code code, std::string_view message) {
  if (call.done_) return;
  call.done_ = true;
  call.unary_.reset();
  const std::string text = encode_grpc_message(message);
  const Header status = {"grpc-status", status_text(code)};
  const Header reason = {"grpc-message", text, true};
  if (call.started_) {
    session_.finish(call, std::array{status, reason});
    return;
  }
  const std::array<Header, 5> headers = {status_200, grpc_content, status, reason,
                                         Header{"grpc-accept-encoding", "identity,gzip"}};
  session_.respond(call, std::span(headers).first(call.unknown_encoding_ ? 5 : 4), true);
}

}  // namespace kedge::wire
