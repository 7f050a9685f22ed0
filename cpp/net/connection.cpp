#include "net/connection.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "net/limits.hpp"
#include "net/readiness.hpp"

namespace kedge::net {

Connection::Connection(ConnectionOwner& owner, std::uint32_t shard, int fd, wire::Budget& budget,
                       const wire::GrpcOptions& options, std::shared_ptr<const wire::TlsContext> tls)
    : Peer(shard),
      owner_(owner),
      fd_(fd),
      tls_(tls == nullptr ? nullptr : std::make_unique<wire::Tls>(std::move(tls))),
      grpc_(*this, budget, options),
      opened_ns_(engine::monotonic_ns()),
      active_ns_(opened_ns_) {
  hold(0);
}

Connection::~Connection() {
  closing = true;
  grpc_.abandon();
  ::close(fd_);
}

bool Connection::read(std::span<std::uint8_t> scratch, wire::Buffer& decrypted) {
  const ssize_t got = ::recv(fd_, scratch.data(), scratch.size(), 0);
  if (got == 0) return false;
  if (got < 0) return errno == EAGAIN || errno == EINTR;
  wire::Bytes bytes(scratch.data(), static_cast<std::size_t>(got));
  mark_dirty();
  if (input_over_) return true;  // what it still says no longer matters
  if (tls_ != nullptr) {
    decrypted.clear();
    if (!tls_->feed(bytes, decrypted)) input_over_ = true;
    bytes = decrypted.view();
  }
  if (!bytes.empty() && !grpc_.feed(bytes)) input_over_ = true;
  return true;
}

void Connection::hold(std::size_t output_bytes) {
  const std::size_t bytes = limits::connection_overhead_bytes + output_bytes;
  if (held_.bytes() == bytes) return;
  held_.release();
  held_.charge(grpc_.budget(), bytes);
}

bool Connection::flush() {
  dirty = false;
  while (true) {
    grpc_.pull(plain_);
    if (tls_ != nullptr && !tls_->write(plain_)) input_over_ = true;
    wire::Output& out = tls_ != nullptr ? tls_->cipher() : plain_;
    if (out.empty()) break;
    iovec vectors[kWriteVectors];
    msghdr message{};
    message.msg_iov = vectors;
    message.msg_iovlen = out.gather(vectors, kWriteVectors);
    const ssize_t sent = ::sendmsg(fd_, &message, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) return false;
      hold(plain_.size() + (tls_ != nullptr ? out.size() : 0) + grpc_.queued_bytes());
      // A client that does not read is still read from, until it holds too much.
      owner_.watch(*this, grpc_.budget().used() < kBlockedReadBytes, true);
      return true;
    }
    out.consume(static_cast<std::size_t>(sent));
  }
  hold(0);
  if (input_over_ || grpc_.over()) return false;
  owner_.watch(*this, true, false);
  return true;
}

void Connection::mark_dirty() {
  if (dirty || closing) return;
  dirty = true;
  owner_.add_dirty(*this);
}

bool Connection::tick(std::int64_t now_ns) {
  grpc_.tick();
  plain_.trim();
  if (tls_ != nullptr) {
    tls_->cipher().trim();
    tls_->trim();
  }
  if (!grpc_.ready()) return now_ns - opened_ns_ < kGreetingNs;
  if (input_over_) return now_ns - active_ns_ < kGreetingNs;  // to take what is left
  if (std::exchange(called_, false) || grpc_.open_calls() != 0) active_ns_ = now_ns;
  if (shutting_down_) {
    grpc_.shutdown();
    mark_dirty();
  }
  return now_ns - active_ns_ < kIdleNs;
}

void Connection::drain() {
  shutting_down_ = true;
  grpc_.announce_shutdown();
  mark_dirty();
}

wire::Method Connection::method(std::string_view path) { return classify(path); }

void Connection::on_call(wire::Call& call) {
  called_ = true;
  switch (static_cast<MethodTag>(call.method().tag)) {
    case MethodTag::model_infer:
      return owner_.pipeline().open_unary(*this, call);
    case MethodTag::model_stream_infer:
      return owner_.pipeline().open_stream(*this, call);
    case MethodTag::cold:
      return owner_.cold().open(*this, call);
    case MethodTag::server_live:
    case MethodTag::server_ready:
    case MethodTag::model_ready:
    case MethodTag::health_check:
      return;  // answered with their message
  }
}

void Connection::on_message(wire::Call& call, wire::Message&& message) {
  const auto tag = static_cast<MethodTag>(call.method().tag);
  if (tag == MethodTag::model_infer || tag == MethodTag::model_stream_infer) {
    owner_.pipeline().receive(*this, call, std::move(message));
  } else if (tag == MethodTag::cold) {
    owner_.cold().message(*this, call, std::move(message));
  } else {
    auto answer = answer_readiness(tag, message.bytes.view(), owner_.pipeline().table(), owner_.leaving());
    if (answer.ok()) {
      grpc_.finish(call, std::move(answer).value());
    } else {
      grpc_.fail(call, answer.status());
    }
  }
}

void Connection::on_half_close(wire::Call& call) {
  if (static_cast<MethodTag>(call.method().tag) == MethodTag::cold) {
    owner_.cold().half_close(call);
  } else {
    owner_.pipeline().half_close(call);
  }
}

void Connection::on_ended(wire::Call& call, wire::Ended) {
  if (static_cast<MethodTag>(call.method().tag) == MethodTag::cold) {
    owner_.cold().ended(call);
  } else {
    owner_.pipeline().ended(call);
  }
}

}  // namespace kedge::net
