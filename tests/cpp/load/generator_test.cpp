#include "load/generator.hpp"

#include <doctest/doctest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <numeric>

#include "peer.hpp"

using namespace kedge::load;        // NOLINT: the subject
using namespace kedge::load::test;  // NOLINT: and its other side

namespace {

Options options_for(const TcpServer& server) {
  Options options;
  options.target = resolve("127.0.0.1", server.port(), "").value();
  options.target.head.path = "/inference.GRPCInferenceService/ModelInfer";
  options.messages = {"a", "bc"};
  options.rate = 2000;
  options.duration_ns = 100'000'000;
  options.grace_ns = 100'000'000;
  return options;
}

// Reads and answers until the client goes, or `most` requests were answered.
void serve(int fd, const std::string& body, int status, int most = 1 << 20) {
  ServerEnd end;
  std::string input(65536, '\0');
  for (int answered = 0; answered < most;) {
    const std::string said = end.pull();
    if (!said.empty() && ::send(fd, said.data(), said.size(), MSG_NOSIGNAL) < 0) return;
    const ssize_t size = ::recv(fd, input.data(), input.size(), 0);
    if (size <= 0 || !end.feed(std::string_view(input).substr(0, static_cast<std::size_t>(size)))) return;
    for (const std::int32_t stream : end.asked) {
      end.answer(stream, body, status);
      ++answered;
    }
    end.asked.clear();
  }
  const std::string last = end.pull();
  static_cast<void>(::send(fd, last.data(), last.size(), MSG_NOSIGNAL));
}

Tally run(Generator& generator) {
  REQUIRE(generator.start().ok());
  while (!generator.wait(1.0)) {
  }
  return generator.tally();
}

std::uint64_t failed(const Tally& tally) {
  return std::accumulate(tally.failures.begin(), tally.failures.end(), std::uint64_t{0});
}

std::uint64_t answered(const Tally& tally) {
  return std::accumulate(tally.statuses.begin(), tally.statuses.end(), std::uint64_t{0});
}

const std::string whole = framed(answer_message("", "1", "b", ""));

}  // namespace

TEST_CASE("Every planned request is answered or failed, once") {
  TcpServer server([](int fd) { serve(fd, whole, 0); });
  Options options = options_for(server);
  Generator generator(options);
  const Tally tally = run(generator);
  CHECK(tally.planned > 100);
  CHECK(tally.planned == answered(tally) + failed(tally));
  CHECK(tally.ok == tally.planned);
  CHECK(tally.latency.count() == tally.ok);
  CHECK(tally.lag.count() == tally.planned);
  CHECK(tally.origins.at(0).count == tally.ok);
  CHECK(tally.bytes_in > 0);
}

TEST_CASE("A closed loop sends as many as asked") {
  TcpServer server([](int fd) { serve(fd, whole, 0); });
  Options options = options_for(server);
  options.rate = 0;
  options.closed = 3;
  options.requests = 500;
  options.duration_ns = 60'000'000'000;
  Generator generator(options);
  const Tally tally = run(generator);
  CHECK(tally.planned == 500);
  CHECK(tally.ok == 500);
}

TEST_CASE("A connection that breaks is dialled again, and what was lost is counted") {
  TcpServer server([](int fd) { serve(fd, whole, 0, 20); });
  Generator generator(options_for(server));
  const Tally tally = run(generator);
  CHECK(tally.planned == answered(tally) + failed(tally));
  CHECK(tally.reconnects > 0);
  CHECK(server.accepted() > 1);
}

TEST_CASE("A server that reads and never answers leaves requests unanswered") {
  TcpServer server([](int fd) {
    ServerEnd end;
    const std::string said = end.pull();
    static_cast<void>(::send(fd, said.data(), said.size(), MSG_NOSIGNAL));
    std::string input(65536, '\0');
    while (::recv(fd, input.data(), input.size(), 0) > 0) {
    }
  });
  Options options = options_for(server);
  options.streams = 10;
  Generator generator(options);
  const Tally tally = run(generator);
  CHECK(tally.sent == 10);
  CHECK(tally.failures[static_cast<std::size_t>(Failure::unanswered)] == 10);
  CHECK(tally.failures[static_cast<std::size_t>(Failure::unsent)] == tally.planned - 10);
  CHECK(tally.waited == tally.planned - 10);
}

TEST_CASE("Requests whose deadline passes before a stream is free are not sent") {
  TcpServer server([](int fd) {
    ServerEnd end;
    const std::string said = end.pull();
    static_cast<void>(::send(fd, said.data(), said.size(), MSG_NOSIGNAL));
    std::string input(65536, '\0');
    while (::recv(fd, input.data(), input.size(), 0) > 0) {
    }
  });
  Options options = options_for(server);
  options.streams = 1;
  options.deadline_ns = 10'000'000;
  Generator generator(options);
  const Tally tally = run(generator);
  CHECK(tally.failures[static_cast<std::size_t>(Failure::expired)] > 0);
  CHECK(tally.planned == answered(tally) + failed(tally));
}

TEST_CASE("Who is no HTTP/2 server is refused with a reason") {
  TcpServer closing([](int) {});
  TcpServer web([](int fd) {
    static_cast<void>(::send(fd, "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", 47, MSG_NOSIGNAL));
    std::string input(1024, '\0');
    while (::recv(fd, input.data(), input.size(), 0) > 0) {
    }
  });
  for (const TcpServer* server : {&closing, &web}) {
    Generator generator(options_for(*server));
    const kedge::Status status = generator.start();
    CHECK_FALSE(status.ok());
    CHECK_FALSE(status.message().empty());
  }
}

TEST_CASE("A server that turns hostile once the run has begun ends it, without a crash") {
  std::atomic<int> seed = 0;
  TcpServer server([&seed](int fd) {
    ServerEnd end;
    const std::string said = end.pull();
    static_cast<void>(::send(fd, said.data(), said.size(), MSG_NOSIGNAL));
    std::string input(4096, '\0');
    if (::recv(fd, input.data(), input.size(), 0) <= 0) return;
    std::mt19937 random(static_cast<unsigned>(++seed));
    std::string garbage(2000, '\0');
    for (char& byte : garbage) byte = static_cast<char>(random());
    static_cast<void>(::send(fd, garbage.data(), garbage.size(), MSG_NOSIGNAL));
  });
  Options options = options_for(server);
  options.threads = 2;
  options.connections = 2;
  Generator generator(options);
  const kedge::Status begun = generator.start();
  if (begun.ok()) {  // garbage may come before the second connection stands
    while (!generator.wait(1.0)) {
    }
    const Tally tally = generator.tally();
    CHECK(tally.planned == answered(tally) + failed(tally));
    CHECK(tally.ok == 0);
  }
  CHECK(server.accepted() > 0);
}

TEST_CASE("Where descriptors run out, those that were had are given back") {
  const auto next = [] {
    const int fd = ::dup(0);
    ::close(fd);
    return fd;
  };
  Options options;
  options.messages = {"a"};
  options.rate = 1;
  const int free = next();
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const rlimit one_more{static_cast<rlim_t>(free) + 1, before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &one_more) == 0);
  CHECK_THROWS_AS(Generator{options}, std::runtime_error);
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  CHECK(next() == free);
}

TEST_CASE("A stop ends a run early") {
  TcpServer server([](int fd) { serve(fd, whole, 0); });
  Options options = options_for(server);
  options.duration_ns = 3600'000'000'000;
  Generator generator(options);
  REQUIRE(generator.start().ok());
  CHECK_FALSE(generator.wait(0.05));
  generator.stop();
  CHECK(generator.wait(10.0));
  const Tally tally = generator.tally();
  CHECK(tally.planned == answered(tally) + failed(tally));
}
