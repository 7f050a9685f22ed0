#include "load/connection.hpp"

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>

#include "peer.hpp"

using namespace kedge::load;        // NOLINT: the subject
using namespace kedge::load::test;  // NOLINT: and its other side

namespace {

constexpr std::int64_t second_ns = 1'000'000'000;

struct Ends final : SessionEvents {
  void message(Exchange&, kedge::wire::Bytes) override {}
  void closed(Exchange&, End end) override { all.push_back(end); }
  std::vector<End> all;
};

// A connection on an epoll of its own, at times that are given.
struct Dialled {
  explicit Dialled(const TcpServer& server) : target(resolve("127.0.0.1", server.port(), "").value()) {
    target.head.path = "/inference.GRPCInferenceService/ModelInfer";
    connection.dial(1);
  }
  ~Dialled() {
    connection.close();
    ::close(epoll);
  }
  // What its socket has to say, for a second at most.
  int turn() {
    epoll_event event{};
    const int count = ::epoll_wait(epoll, &event, 1, 1000);
    if (count == 1) connection.act(event.events, scratch, 1);
    connection.flush(1);
    return count;
  }

  int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  Ends ends;
  Target target;
  Connection connection{ends, target, 4, epoll};
  std::array<std::uint8_t, 65536> scratch{};
};

// Takes requests, answers none and says goodbye at the first; then waits for the client to go.
void say_goodbye(int fd) {
  ServerEnd end;
  std::array<char, 65536> input{};
  bool said = false;
  for (;;) {
    if (!said && !end.asked.empty()) {
      nghttp2_submit_goaway(end.session(), 0, end.asked.at(0), NGHTTP2_NO_ERROR, nullptr, 0);
      said = true;
    }
    const std::string out = end.pull();
    if (!out.empty() && ::send(fd, out.data(), out.size(), MSG_NOSIGNAL) < 0) return;
    const ssize_t size = ::recv(fd, input.data(), input.size(), 0);
    if (size <= 0 || !end.feed({input.data(), static_cast<std::size_t>(size)})) return;
  }
}

// This process's socket that is connected to the server; -1: none.
int client_of(const TcpServer& server) {
  for (int fd = 0; fd < 1024; ++fd) {
    sockaddr_in peer{};
    socklen_t size = sizeof peer;
    const bool connected = ::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) == 0;
    if (connected && ntohs(peer.sin_port) == server.port()) return fd;
  }
  return -1;
}

}  // namespace

TEST_CASE("A server that said goodbye and ends nothing is left, and dialled again") {
  TcpServer server(say_goodbye);
  Dialled dialled(server);
  Connection& connection = dialled.connection;
  while (connection.state() != Connection::State::ready) REQUIRE(dialled.turn() == 1);
  REQUIRE(connection.submit({}));
  connection.flush(1);
  while (connection.has_room()) REQUIRE(dialled.turn() == 1);
  connection.redial(second_ns);
  connection.redial(2 * second_ns);
  CHECK(connection.state() == Connection::State::ready);  // it may answer yet
  CHECK(dialled.ends.all.empty());
  connection.redial(40 * second_ns);
  CHECK(connection.state() == Connection::State::waiting);
  CHECK(dialled.ends.all == std::vector<End>{End::connection});
  connection.redial(41 * second_ns);
  CHECK(connection.state() == Connection::State::connecting);
}

TEST_CASE("A connection that was closed is heard of no more, whoever holds its socket") {
  TcpServer server(say_goodbye);
  Dialled dialled(server);
  while (dialled.connection.state() != Connection::State::ready) REQUIRE(dialled.turn() == 1);
  const int copy = ::dup(client_of(server));  // as a child process has between fork and exec
  REQUIRE(copy >= 0);
  dialled.connection.close();
  REQUIRE(::shutdown(copy, SHUT_RDWR) == 0);
  epoll_event event{};
  CHECK(::epoll_wait(dialled.epoll, &event, 1, 0) == 0);
  ::close(copy);
}
