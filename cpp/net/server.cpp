#include "net/server.hpp"

#include <unistd.h>

#include <algorithm>

namespace kedge::net {
namespace {

constexpr auto kDrainPoll = std::chrono::milliseconds(2);
constexpr std::int64_t kComplainEveryNs = 10'000'000'000;
constexpr std::uint64_t kWarning = 2;  // as ONNX Runtime numbers severities

}  // namespace

Server::Server(ServerOptions options)
    : runtime_(engine::Runtime::open(options.runtime)),
      log_(runtime_->log_to([this](int severity, const std::string& text) {
        cold_.push({static_cast<std::uint64_t>(severity), ColdKind::log, "onnxruntime", {}, text});
      })),
      pointer_(options.shards),
      shared_(pointer_) {
  shared_.waiting = [this](std::string_view model, std::string_view version) {
    return waiting(model, version);
  };
  for (std::size_t i = 0; i < options.shards; ++i) {
    ShardOptions shard;
    shard.index = static_cast<std::uint32_t>(i);
    shards_.push_back(std::make_unique<Shard>(shard, shared_, &cold_));
  }
}

Server::~Server() { stop(); }

void Server::configure_tls(std::shared_ptr<const wire::TlsContext> tls) {
  const std::lock_guard lock(mutex_);
  tls_ = std::move(tls);
}

void Server::configure_limits(const ServerLimits& given) {
  const std::lock_guard lock(mutex_);
  limits_ = given;
}

std::string Server::start(const std::string& address) {
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) throw ControlError("the plane was stopped and cannot be started again");
    if (listener_ != nullptr) throw ControlError("the plane already listens on " + listener_->bound());
  }
  auto listener = std::make_unique<Listener>(
      address, [this](int fd) { accept(fd); },
      [this] {
        complain("connections wait: this process can open no more files; raise its limit (ulimit -n)");
      });
  const std::lock_guard lock(mutex_);
  listener_ = std::move(listener);
  return listener_->bound();
}

void Server::accept(int fd) {
  wire::GrpcOptions options;
  std::shared_ptr<const wire::TlsContext> tls;
  std::size_t most = 0;
  {
    const std::lock_guard lock(mutex_);
    options.max_message_bytes = limits_.max_message_bytes;
    options.max_concurrent_streams = limits_.max_concurrent_streams;
    most = limits_.max_connections;
    tls = tls_;
  }
  std::size_t open = 0;
  Shard* least = shards_.front().get();
  for (const auto& shard : shards_) {
    open += shard->connections();
    if (shard->connections() < least->connections()) least = shard.get();
  }
  if (open >= most) {
    ::close(fd);
    ++turned_away_;
    return complain("connections turned away: " + std::to_string(turned_away_) + ", because " +
                    std::to_string(most) + " are open, the most allowed (--max-connections)");
  }
  least->adopt(fd, options, std::move(tls));
}

// A flood of connections must not become one of lines.
void Server::complain(const std::string& text) {
  const std::int64_t now = engine::monotonic_ns();
  if (complained_ns_ != 0 && now - complained_ns_ < kComplainEveryNs) return;
  complained_ns_ = now;
  turned_away_ = 0;
  cold_.push({kWarning, ColdKind::log, "data port", {}, text});
}

bool Server::waiting(std::string_view model, std::string_view version) {
  const std::lock_guard lock(mutex_);
  for (const auto& [name, number] : loading_) {
    if (name == model && (version.empty() || number == version)) return true;
  }
  return std::any_of(models_.begin(), models_.end(), [&](const auto& entry) {
    const engine::ModelConfig& config = entry.second->model->config();
    return !entry.second->routed && config.name == model && (version.empty() || config.version == version);
  });
}

bool Server::drain(std::chrono::nanoseconds timeout, std::chrono::nanoseconds grace) {
  shared_.leaving.store(true);
  std::unique_ptr<Listener> listener;
  {
    std::unique_lock lock(mutex_);
    stopping_.wait_for(lock, grace, [&] { return stopped_; });
    if (stopped_) return false;
    listener = std::move(listener_);
  }
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  shared_.draining.store(true);
  listener.reset();
  const auto on_each = [this](auto&& task) {
    for (const auto& shard : shards_) {
      shard->call([&] { task(*shard); });
    }
  };
  try {
    auto reaching = reach();
    on_each([](Shard& shard) { shard.drain(); });
    while (true) {
      std::size_t left = 0;
      on_each([&](const Shard& shard) { left += shard.under_way(); });
      if (left == 0 || std::chrono::steady_clock::now() >= deadline) {
        on_each([](Shard& shard) { shard.fail_all(); });
        // What waits for a shadow is dropped, and counted: nobody's answer depends on it.
        for (const auto& shadow : all_shadows()) shadow->stop();
        return left == 0;
      }
      reaching.unlock();
      std::this_thread::sleep_for(kDrainPoll);
      reaching = reach();
    }
  } catch (const ControlError&) {
    return false;  // cut short
  }
}

std::unique_lock<std::mutex> Server::reach() {
  std::unique_lock reaching(writers_mutex_);
  const std::lock_guard lock(mutex_);
  if (stopped_) throw ControlError("the plane was stopped");
  return reaching;
}

void Server::stop() {
  std::unique_ptr<Listener> listener;
  std::map<std::uint64_t, std::shared_ptr<Loaded>> models;
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) return;
    stopped_ = true;
    listener = std::move(listener_);
    models.swap(models_);
  }
  stopping_.notify_all();
  listener.reset();
  const std::lock_guard reaching(writers_mutex_);  // nobody reaches for what ends here any more
  for (const auto& shard : shards_) shard->stop();
  // Executors hand requests back to shards, whose memory must outlive them.
  for (auto& [key, loaded] : models) loaded->pool.reset();
  for (auto& [key, loaded] : models) {
    if (loaded->shadow != nullptr) loaded->shadow->stop();
  }
  cold_.close();
}

void Server::reply(std::uint64_t call, std::optional<std::string> payload, bool last, Code code,
                   std::string text) {
  const std::uint32_t shard = ColdCalls::shard_of(call);
  const std::lock_guard lock(mutex_);
  if (stopped_ || shard >= shards_.size()) return;
  Shard& owner = *shards_[shard];
  owner.post([&owner, call, payload = std::move(payload), last, code, text = std::move(text)] {
    owner.cold().reply(call, payload.has_value() ? &*payload : nullptr, last, code, text);
  });
}

}  // namespace kedge::net
