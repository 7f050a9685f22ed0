// A stop in the middle of everything the control plane may ask at the time, with connections open and a call
// that never ends. Meant for sanitizers; what it checks itself is that all come back.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "engine/environment.hpp"
#include "net/http2_bytes.hpp"
#include "net/server.hpp"

using namespace kedge;  // NOLINT: a test

namespace {

engine::ModelConfig config(const test::Environment& given, std::uint64_t key) {
  engine::ModelConfig made;
  made.key = key;
  made.bundle = std::string(64, 'b');
  made.name = "text";
  made.version = std::to_string(key);
  made.session.path = given.models + "/text.onnx";
  made.batchable = true;
  made.max_batch = 8;
  made.execution = engine::Execution::pool;
  made.instances = 1;
  made.layout = std::make_shared<sketch::Layout>();
  return made;
}

int dial(const std::string& bound, const std::string& said) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(std::stoi(bound.substr(bound.rfind(':') + 1))));
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  CHECK(::send(fd, said.data(), said.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(said.size()));
  return fd;
}

// Asks until it is told that there is nobody to ask.
template <class F>
std::thread asking(F&& ask) {
  return std::thread([ask = std::forward<F>(ask)]() mutable {
    try {
      while (true) ask();
    } catch (const net::ControlError&) {
    }
  });
}

}  // namespace

int main(int argc, char** argv) {
  const test::Environment given(argc, argv);
  for (int turn = 0; turn < 3; ++turn) {
    net::ServerOptions options;
    options.runtime = {given.library, given.version, 1};
    options.shards = 2;
    net::Server server(std::move(options));
    server.load(config(given, 1), {}, false);
    net::RouteSpec route;
    route.model = "text";
    route.epoch = 1;
    route.arms = {{1, engine::Arm::live, 1.0}};
    server.publish({route});
    const std::string bound = server.start("127.0.0.1:0");
    std::vector<int> clients;
    const std::string unfinished =
        test::http2_greeting() + test::http2_call(1, "/inference.GRPCInferenceService/ModelInfer");
    for (int count = 0; count < 40; ++count) clients.push_back(dial(bound, unfinished));

    std::vector<std::thread> asked;
    asked.push_back(asking([&] { server.snapshot(); }));
    asked.push_back(asking([&] { server.reservoir(1); }));
    asked.push_back(asking([&] {
      server.publish({route});
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }));
    asked.push_back(asking([&, key = std::uint64_t{2}]() mutable {
      server.load(config(given, ++key), {}, false);
      server.retire(key, std::chrono::seconds(10));
    }));
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    bool ended = true;
    std::thread draining(
        [&] { ended = server.drain(std::chrono::seconds(60), std::chrono::milliseconds(1)); });
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    server.stop();  // cuts the drain short
    draining.join();
    CHECK(!ended);
    for (std::thread& one : asked) one.join();
    for (const int fd : clients) ::close(fd);
  }
  std::puts("ok");
}
