// One thread with its own connections, its own epoll and its own counters. Shards share nothing.
#pragma once

#include <sys/epoll.h>

#include <atomic>
#include <functional>
#include <future>
#include <mutex>
#include <thread>
#include <vector>

#include "net/connection.hpp"
#include "wire/memory.hpp"

namespace kedge::net {

struct ShardOptions {
  std::uint32_t index = 0;
  std::size_t max_bytes = limits::max_shard_bytes;
};

class Shard final : public ConnectionOwner, public engine::ReturnPort {
 public:
  // Starts the thread.
  Shard(const ShardOptions& options, engine::Shared& shared, ColdQueue* cold);
  // Stops. Executors must have ended before: they hold requests of this shard.
  ~Shard() override;
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;

  // --- called by any thread ---
  // Runs `task` on the shard's thread, between two batches.
  void post(std::function<void()> task);
  // The same in its next turn, whatever begins that one; within a second.
  void post_unhurried(std::function<void()> task);
  // Like `post`, and waits for it. Not from the shard's own thread, nor at the time of `stop` or after it.
  void call(std::function<void()> task);
  void adopt(int fd, const wire::GrpcOptions& options, std::shared_ptr<const wire::TlsContext> tls);
  void wake();
  // Whether it sleeps no longer than until something is due. For those who saw it asleep in the route table.
  bool sleeps_until_due() const { return until_due_.load(std::memory_order_relaxed); }
  std::size_t connections() const { return connection_count_.load(std::memory_order_relaxed); }
  // Ends the thread and closes every connection at once.
  void stop();

  void answered(std::vector<engine::Request*> requests) override;
  void released(std::vector<engine::Request*> requests) override;

  // --- called by tasks on the shard's thread ---
  engine::Pipeline& pipeline() override { return pipeline_; }
  ColdCalls& cold() override { return cold_; }
  bool leaving() const override { return shared_.leaving.load(std::memory_order_relaxed); }
  void drain();
  void fail_all();
  // Requests and native calls under way.
  std::size_t under_way() const;

 private:
  void add_dirty(Connection& connection) override { dirty_.push_back(&connection); }
  void watch(Connection& connection, bool read, bool write) override;

  bool draining() const { return shared_.draining.load(std::memory_order_relaxed); }
  void loop();
  std::size_t wait(std::span<epoll_event> events);
  void run_tasks();
  void read_ready();
  void flush_dirty();
  void close(Connection& connection);
  void reap();
  void relieve();
  void tick_every(std::int64_t nanoseconds);
  void tick(std::int64_t now);

  const std::uint32_t index_;
  engine::Shared& shared_;
  wire::Memory memory_;
  wire::Budget budget_;
  engine::Pipeline pipeline_;
  ColdCalls cold_;
  int epoll_ = -1;
  int wake_ = -1;
  int timer_ = -1;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::vector<Connection*> ready_;  // readable, in the order they wait
  std::vector<Connection*> dirty_;
  std::vector<std::uint8_t> scratch_;
  wire::Buffer decrypted_;
  bool tick_due_ = false;
  bool closed_some_ = false;

  std::mutex mutex_;
  std::vector<std::function<void()>> tasks_;  // under `mutex_`
  std::atomic<bool> has_tasks_{false};
  std::atomic<bool> woken_{false};  // for one of them
  std::atomic<bool> stopping_{false};
  std::atomic<bool> until_due_{false};
  std::atomic<std::size_t> connection_count_{0};
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace kedge::net
