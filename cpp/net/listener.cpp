#include "net/listener.hpp"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <stdexcept>

#include "net/limits.hpp"

namespace kedge::net {
namespace {

constexpr std::string_view kUnix = "unix:";
constexpr int kOutOfFilesPauseMs = 50;

// Of accepted connections; none has an effect on unix sockets.
void set_options(int fd) {
  const auto set = [fd](int level, int name, int value) {
    ::setsockopt(fd, level, name, &value, sizeof value);
  };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, kProbeAfterSeconds);
  set(IPPROTO_TCP, TCP_KEEPINTVL, kProbeEverySeconds);
  set(IPPROTO_TCP, TCP_KEEPCNT, kProbes);
}

[[noreturn]] void refuse(const std::string& why) { throw std::runtime_error(why); }

}  // namespace

Listener::Listener(const std::string& address, std::function<void(int)> accept, std::function<void()> starved)
    : accept_(std::move(accept)), starved_(std::move(starved)), bound_(address) {
  if (address.starts_with(kUnix)) {
    listen_unix(address.substr(kUnix.size()));
  } else {
    const std::size_t colon = address.rfind(':');
    if (colon == std::string::npos) refuse("expected host:port, [::1]:port or unix:/path");
    std::string host = address.substr(0, colon);
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    listen_tcp(host, address.substr(colon + 1));
  }
  wake_ = ::eventfd(0, EFD_CLOEXEC);
  try {
    if (wake_ < 0) refuse(std::strerror(errno));
    thread_ = std::thread([this] { loop(); });
  } catch (const std::exception&) {
    close();  // there will be no destructor
    throw;
  }
}

Listener::~Listener() {
  stopping_.store(true);
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t wrote = ::write(wake_, &one, sizeof one);
  thread_.join();
  close();
}

void Listener::close() {
  ::close(socket_);
  ::close(wake_);
  if (!unlink_.empty()) ::unlink(unlink_.c_str());
}

void Listener::listen_unix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) refuse("the path is empty or too long");
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  struct stat found{};
  // A socket that nobody accepts on any more may be replaced; any other file may not.
  if (::lstat(path.c_str(), &found) == 0) {
    if (!S_ISSOCK(found.st_mode)) refuse("a file of that name exists");
    const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool alive = ::connect(probe, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    ::close(probe);
    if (alive) refuse("another process listens there");
    ::unlink(path.c_str());
  }
  socket_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (socket_ < 0 || ::bind(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(socket_, kListenBacklog) != 0) {
    const std::string why = std::strerror(errno);
    if (socket_ >= 0) ::close(socket_);
    refuse(why);
  }
  unlink_ = path;
}

void Listener::listen_tcp(const std::string& host, const std::string& port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* raw = nullptr;
  if (const int error = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &raw); error != 0) {
    refuse(::gai_strerror(error));
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> list(raw, ::freeaddrinfo);
  std::string why = "no address";
  for (const addrinfo* at = raw; at != nullptr && socket_ < 0; at = at->ai_next) {
    const int made = ::socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const int yes = 1;
    if (made < 0) continue;
    ::setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (at->ai_family == AF_INET6) ::setsockopt(made, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof yes);
    if (::bind(made, at->ai_addr, at->ai_addrlen) == 0 && ::listen(made, kListenBacklog) == 0) {
      socket_ = made;
    } else {
      why = std::strerror(errno);
      ::close(made);
    }
  }
  if (socket_ < 0) refuse(why);
  sockaddr_storage where{};
  socklen_t length = sizeof where;
  ::getsockname(socket_, reinterpret_cast<sockaddr*>(&where), &length);
  const auto number = where.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&where)->sin6_port
                                                  : reinterpret_cast<sockaddr_in*>(&where)->sin_port;
  bound_ = bound_.substr(0, bound_.rfind(':') + 1) + std::to_string(ntohs(number));
}

void Listener::loop() {
  pollfd watched[] = {{socket_, POLLIN, 0}, {wake_, POLLIN, 0}};
  while (!stopping_.load()) {
    if (::poll(watched, 2, -1) < 0) continue;
    const int fd = ::accept4(socket_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
      // Out of descriptors: the connection stays in the backlog, and polling again at once would spin.
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        starved_();
        ::poll(&watched[1], 1, kOutOfFilesPauseMs);
      }
      continue;
    }
    set_options(fd);
    accept_(fd);
  }
}

}  // namespace kedge::net
