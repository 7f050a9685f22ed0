#include "net/listener.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <fstream>
#include <stdexcept>

#include "engine/check.hpp"

using kedge::net::Listener;

namespace {

std::string refusal(const std::string& address) {
  try {
    const Listener listener(address, [](int fd) { ::close(fd); }, [] {});
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}

void await(const std::atomic<int>& accepted, int count) {
  for (int tries = 0; accepted != count && tries < 1000; ++tries) ::usleep(2000);
  CHECK(accepted == count);
}

void a_free_port_is_picked_and_named() {
  std::atomic<int> accepted{0};
  const Listener listener(
      "127.0.0.1:0",
      [&](int fd) {
        ++accepted;
        ::close(fd);
      },
      [] {});
  const int port = std::stoi(listener.bound().substr(listener.bound().rfind(':') + 1));
  CHECK(listener.bound().starts_with("127.0.0.1:") && port > 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(port));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  CHECK(::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0);
  await(accepted, 1);
  ::close(fd);
  CHECK(refusal(listener.bound()).find("in use") != std::string::npos);
}

// A client whose machine is gone says nothing more: without probes its open calls, and its place among the
// connections, would be kept for ever.
void accepted_connections_are_probed() {
  std::atomic<int> probed{0};
  const Listener listener(
      "127.0.0.1:0",
      [&](int fd) {
        const auto option = [&](int level, int name) {
          int value = 0;
          socklen_t length = sizeof value;
          CHECK(::getsockopt(fd, level, name, &value, &length) == 0);
          return value;
        };
        CHECK(option(SOL_SOCKET, SO_KEEPALIVE) == 1);
        const int seconds = option(IPPROTO_TCP, TCP_KEEPIDLE) +
                            option(IPPROTO_TCP, TCP_KEEPINTVL) * option(IPPROTO_TCP, TCP_KEEPCNT);
        CHECK(seconds <= 600);
        ++probed;
        ::close(fd);
      },
      [] {});
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port =
      htons(static_cast<std::uint16_t>(std::stoi(listener.bound().substr(listener.bound().rfind(':') + 1))));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  CHECK(::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0);
  await(probed, 1);
  ::close(fd);
}

void a_dead_unix_socket_is_replaced_and_a_file_is_not() {
  char folder[] = "/tmp/kedge-listener-XXXXXX";
  CHECK(::mkdtemp(folder) != nullptr);
  const std::string path = std::string(folder) + "/s";
  {
    const Listener first("unix:" + path, [](int fd) { ::close(fd); }, [] {});
  }
  struct stat found{};
  CHECK(::lstat(path.c_str(), &found) != 0);  // removed at the end
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const int dead = ::socket(AF_UNIX, SOCK_STREAM, 0);
  CHECK(::bind(dead, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  ::close(dead);
  {
    const Listener second("unix:" + path, [](int fd) { ::close(fd); }, [] {});
    CHECK(refusal("unix:" + path).find("another process") != std::string::npos);
  }
  std::ofstream(path) << "a file";
  CHECK(refusal("unix:" + path).find("exists") != std::string::npos);
  ::unlink(path.c_str());
  ::rmdir(folder);
}

void what_is_no_address_is_refused() {
  CHECK(!refusal("nonsense").empty());
  CHECK(!refusal("127.0.0.1:notaport").empty());
  CHECK(!refusal("unix:").empty());
}

// With a socket and nothing to wake its thread, it would never end.
void without_a_second_descriptor_the_first_is_given_back() {
  char folder[] = "/tmp/kedge-listener-XXXXXX";
  CHECK(::mkdtemp(folder) != nullptr);
  const std::string path = std::string(folder) + "/s";
  const auto next = [] {
    const int fd = ::dup(0);
    ::close(fd);
    return fd;
  };
  const int free = next();
  rlimit before{};
  CHECK(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const rlimit one_more{static_cast<rlim_t>(free) + 1, before.rlim_max};
  CHECK(::setrlimit(RLIMIT_NOFILE, &one_more) == 0);
  const std::string why = refusal("unix:" + path);
  CHECK(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  CHECK(why.find("open files") != std::string::npos);
  CHECK(next() == free);
  struct stat found{};
  CHECK(::lstat(path.c_str(), &found) != 0);
  ::rmdir(folder);
}

}  // namespace

int main() {
  a_free_port_is_picked_and_named();
  accepted_connections_are_probed();
  a_dead_unix_socket_is_replaced_and_a_file_is_not();
  what_is_no_address_is_refused();
  without_a_second_descriptor_the_first_is_given_back();
  std::puts("ok");
}
