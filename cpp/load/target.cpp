#include "load/target.hpp"

#include <netdb.h>
#include <poll.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace kedge::load {

namespace {

constexpr int patience_ms = 2000;

bool listens(const addrinfo& where) {
  const int fd = ::socket(where.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  bool connected = ::connect(fd, where.ai_addr, where.ai_addrlen) == 0;
  if (!connected && errno == EINPROGRESS) {
    pollfd poll{fd, POLLOUT, 0};
    int error = 0;
    socklen_t size = sizeof error;
    connected = ::poll(&poll, 1, patience_ms) == 1 &&
                ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
  }
  ::close(fd);
  return connected;
}

}  // namespace

Result<Target> resolve(const std::string& host, std::uint16_t port, const std::string& path) {
  Target target;
  target.head.scheme = "http";
  if (!path.empty()) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path)
      return Status(Code::kInvalidArgument, "the socket's path is too long");
    std::memcpy(address.sun_path, path.data(), path.size());
    std::memcpy(&target.address, &address, sizeof address);
    target.address_bytes = sizeof address;
    target.host = "localhost";
    target.head.authority = "localhost";
    return target;
  }
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int failed = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (failed != 0)
    return Status(Code::kUnavailable, "'" + host + "' cannot be looked up: " + gai_strerror(failed));
  // A name may stand for several addresses, of which the server has one: localhost is ::1 too.
  const addrinfo* chosen = found;
  for (const addrinfo* each = found; each != nullptr && found->ai_next != nullptr; each = each->ai_next) {
    if (!listens(*each)) continue;
    chosen = each;
    break;
  }
  std::memcpy(&target.address, chosen->ai_addr, chosen->ai_addrlen);
  target.address_bytes = chosen->ai_addrlen;
  freeaddrinfo(found);
  const bool colon = host.find(':') != std::string::npos;
  target.host = host;
  target.head.authority = (colon ? "[" + host + "]" : host) + ":" + std::to_string(port);
  return target;
}

}  // namespace kedge::load
