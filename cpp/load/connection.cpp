#include "load/connection.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace kedge::load {

namespace {

// From the dial to the server's SETTINGS.
constexpr std::int64_t greeting_ns = 5'000'000'000;
// Reads of one socket before others have their turn.
constexpr int max_reads = 4;
// From the moment it takes no more requests: for those it has.
constexpr std::int64_t farewell_ns = 30'000'000'000;

}  // namespace

Connection::Connection(SessionEvents& events, const Target& target, std::uint32_t streams, int epoll)
    : events_(events), target_(target), streams_(streams), epoll_(epoll) {}

Connection::~Connection() { close(); }

void Connection::dial(std::int64_t now_ns) {
  dialled_ns_ = now_ns;
  fd_ = ::socket(target_.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd_ < 0) return broke(std::strerror(errno), now_ns);
  const int on = 1;
  if (target_.address.ss_family != AF_UNIX) setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  state_ = State::connecting;
  const int failed =
      ::connect(fd_, reinterpret_cast<const sockaddr*>(&target_.address), target_.address_bytes);
  if (failed != 0 && errno != EINPROGRESS) return broke(std::strerror(errno), now_ns);
  watch(true);
}

void Connection::redial(std::int64_t now_ns) {
  if (state_ == State::waiting && now_ns >= dial_at_ns_) {
    dial(now_ns);
  } else if (state_ < State::ready && now_ns - dialled_ns_ > greeting_ns) {
    broke(state_ == State::connecting ? "no connection within 5 s" : "it does not greet as HTTP/2 within 5 s",
          now_ns);
  } else if (state_ == State::ready && !session_->takes_requests()) {
    if (left_ns_ == 0) left_ns_ = now_ns;
    if (session_->open() == 0) {
      broke("it takes no more requests", now_ns);
    } else if (now_ns - left_ns_ > farewell_ns) {
      broke("it takes no more requests, and does not end those it has within 30 s", now_ns);
    }
  }
}

void Connection::watch(bool write) {
  const std::uint32_t wanted = EPOLLIN | (write ? static_cast<std::uint32_t>(EPOLLOUT) : 0U);
  if (wanted == watched_) return;
  epoll_event event{};
  event.events = wanted;
  event.data.ptr = this;
  epoll_ctl(epoll_, watched_ == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd_, &event);
  watched_ = wanted;
}

void Connection::connected(std::int64_t now_ns) {
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) return broke(std::strerror(error), now_ns);
  session_.emplace(events_, target_.head, streams_);
  if (target_.tls) {
    tls_.emplace(*target_.tls, fd_, target_.host);
    state_ = State::securing;
    return secure(now_ns);
  }
  state_ = State::greeting;
  flush(now_ns);
}

void Connection::secure(std::int64_t now_ns) {
  switch (tls_->handshake()) {
    case Io::done:
      state_ = State::greeting;
      return flush(now_ns);
    case Io::over:
      return broke("TLS: " + tls_->why(), now_ns);
    case Io::wants_read:
      return watch(false);
    case Io::wants_write:
      return watch(true);
  }
}

void Connection::act(std::uint32_t events, std::span<std::uint8_t> scratch, std::int64_t now_ns) {
  if (state_ == State::connecting) return connected(now_ns);
  if (state_ == State::securing) return secure(now_ns);
  if (state_ != State::greeting && state_ != State::ready) return;
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && !read(scratch))
    return broke(session_->why(), now_ns);
  if (state_ == State::greeting && session_->ready()) {
    state_ = State::ready;
    attempts_ = 0;
  }
  dirty = true;
}

// False: the connection is over; why_ or the session says why.
bool Connection::read(std::span<std::uint8_t> scratch) {
  for (int turn = 0; turn < max_reads; ++turn) {
    std::size_t count = 0;
    if (tls_) {
      const Io result = tls_->read(scratch, count);
      if (result == Io::wants_read || result == Io::wants_write) return true;
      if (result == Io::over) return why_ = "it ended the connection", false;
    } else {
      const ssize_t got = ::recv(fd_, scratch.data(), scratch.size(), 0);
      if (got < 0 && (errno == EAGAIN || errno == EINTR)) return true;
      if (got <= 0) return why_ = got == 0 ? "it ended the connection" : std::strerror(errno), false;
      count = static_cast<std::size_t>(got);
    }
    bytes_in_ += count;
    if (!session_->feed({scratch.data(), count})) return false;
    if (!tls_ && count < scratch.size()) return true;
  }
  return true;
}

void Connection::flush(std::int64_t now_ns) {
  dirty = false;
  if (state_ != State::greeting && state_ != State::ready) return;
  for (;;) {
    if (written_ == out_.size()) {
      out_.clear();
      written_ = 0;
      session_->pull(out_);
      if (out_.empty()) {
        if (!session_->why().empty()) return broke(session_->why(), now_ns);
        break;
      }
    }
    const wire::Bytes rest = out_.view().subspan(written_);
    std::size_t count = 0;
    if (tls_) {
      const Io result = tls_->write(rest, count);
      if (result == Io::over) return broke(tls_->why(), now_ns);
      if (result != Io::done) return watch(result == Io::wants_write);
    } else {
      const ssize_t sent = ::send(fd_, rest.data(), rest.size(), MSG_NOSIGNAL);
      if (sent < 0 && errno == EAGAIN) return watch(true);
      if (sent < 0) return broke(std::strerror(errno), now_ns);
      count = static_cast<std::size_t>(sent);
    }
    written_ += count;
    bytes_out_ += count;
  }
  watch(false);
}

// Leaves epoll at once: it would keep the socket, and tell of it, for as long as anyone, such as a child
// process between fork and exec, holds a copy.
void Connection::release() {
  if (watched_ != 0) epoll_ctl(epoll_, EPOLL_CTL_DEL, fd_, nullptr);
  if (session_) session_->abandon();
  session_.reset();
  tls_.reset();
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
  watched_ = 0;
  left_ns_ = 0;
  out_.clear();
  written_ = 0;
}

void Connection::broke(std::string why, std::int64_t now_ns) {
  if (!why.empty()) why_ = std::move(why);
  state_ = State::waiting;
  release();
  if (++attempts_ > max_attempts || ++reconnects_ > max_reconnects) {
    state_ = State::given_up;
    return;
  }
  dial_at_ns_ = now_ns + std::min(first_wait_ns << std::min(attempts_ - 1, 10), most_wait_ns);
}

void Connection::close() {
  state_ = State::given_up;
  release();
}

}  // namespace kedge::load
