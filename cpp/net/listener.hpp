// The listening socket and the thread that hands accepted ones to shards.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <thread>

namespace kedge::net {

class Listener {
 public:
  // Listens on `host:port` (port 0 picks a free one), `[::1]:port` or `unix:/path`. Throws std::runtime_error
  // saying what of the address cannot be used. `accept` owns each socket it is given; `starved` is told, on
  // the same thread, when a connection waits because this process can open no more files.
  Listener(const std::string& address, std::function<void(int fd)> accept, std::function<void()> starved);
  // Stops listening and joins.
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // The address bound, in the form given.
  const std::string& bound() const { return bound_; }

 private:
  void listen_unix(const std::string& path);
  void listen_tcp(const std::string& host, const std::string& port);
  void loop();
  void close();

  std::function<void(int)> accept_;
  std::function<void()> starved_;
  int socket_ = -1;
  int wake_ = -1;
  std::string bound_;
  std::string unlink_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace kedge::net
