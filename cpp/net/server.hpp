// The data plane: shards, models, the route table, and what the control plane may ask of them.
//
// Every method may be called from any thread but a shard's. None is on the request path.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/shadow.hpp"
#include "net/listener.hpp"
#include "net/shard.hpp"

namespace kedge::net {

// A call of the control plane that was refused, in one line; nothing was changed.
struct ControlError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct ServerOptions {
  engine::Runtime::Options runtime;
  std::size_t shards = 1;
};

struct ServerLimits {
  std::size_t max_message_bytes = limits::max_message_bytes;
  std::size_t max_queue = 4096;
  std::size_t max_connections = 4096;
  std::uint32_t max_concurrent_streams = limits::max_concurrent_streams;
};

// A route as the control plane gives it; checked before it comes here. Keys are of loaded models.
struct RouteSpec {
  struct ArmSpec {
    std::uint64_t key = 0;
    engine::Arm arm = engine::Arm::live;
    double share = 0;
  };
  std::string model;
  std::uint64_t epoch = 0;
  std::vector<ArmSpec> arms;
  std::vector<std::uint64_t> pinned;
  std::string salt;
  std::int64_t sticky_for = 3600;
  struct ShadowSpec {
    std::uint64_t key = 0;
    double sample = 1;
  };
  std::optional<ShadowSpec> shadow;
  engine::SlowRuns slow_ns{};
};

class Server {
 public:
  // Opens the runtime and starts the shards. Throws engine::LoadError.
  explicit Server(ServerOptions options);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  void configure_tls(std::shared_ptr<const wire::TlsContext> tls);
  void configure_limits(const ServerLimits& limits);
  // Seals predictions with `key` from now on.
  void configure_tokens(const engine::Sealing::Key& key) { shared_.sealing.use(key); }
  // Returns the address bound. Throws std::runtime_error.
  std::string start(const std::string& address);
  // Answers "not ready" for `grace`, then GOAWAY; true if all work under way ended within `timeout` after
  // that.
  bool drain(std::chrono::nanoseconds timeout, std::chrono::nanoseconds grace);
  void stop();

  // control.cpp
  // A bundle is about to be loaded: until it is withdrawn, requests for it are told that it is not ready yet.
  void announce(const std::string& name, const std::string& version);
  void withdraw(const std::string& name, const std::string& version);
  // Loads a model. `sample`: rows it is warmed up and measured with; empty: neither. Throws
  // engine::LoadError.
  void load(engine::ModelConfig config, std::span<const engine::TensorView> sample, bool warm_up);
  // Runs a loaded model and hands each output to `take` while it is valid. Throws ControlError.
  void run(std::uint64_t key, std::span<const engine::TensorView> inputs,
           const std::function<void(const engine::TensorSpec&, const engine::TensorView&)>& take);
  // publish.cpp
  // Replaces the route table; returns the nanoseconds until every shard picks from it.
  std::int64_t publish(const std::vector<RouteSpec>& routes);
  // control.cpp
  // Waits up to `grace` for work under way, then frees the model; returns bytes of resident memory freed.
  // Throws ControlError if work did not end in time.
  std::int64_t retire(std::uint64_t key, std::chrono::nanoseconds grace);
  // Counts of every writer; the same cell may appear once a writer.
  std::vector<engine::CellCounts> snapshot();
  // Drops the counts of a bundle. Throws ControlError while it is loaded.
  void forget(const std::string& bundle);
  std::vector<engine::SampledRow> reservoir(std::uint64_t key);
  // Rows whose inputs were finite and whose prediction was not.
  std::vector<engine::SampledRow> suspects(std::uint64_t key);
  // Uses another conformal threshold than the bundle's calibration gave.
  void confide(std::uint64_t key, double threshold);
  std::int64_t inline_rows(std::uint64_t key);

  void reply(std::uint64_t call, std::optional<std::string> payload, bool last, Code code, std::string text);
  std::optional<ColdEvent> next_cold() { return cold_.pop(); }

  std::size_t shards() const { return shards_.size(); }
  const engine::Runtime& runtime() const { return *runtime_; }

 private:
  struct Loaded {
    std::shared_ptr<engine::Model> model;
    std::unique_ptr<engine::ExecutorPool> pool;
    std::shared_ptr<engine::Shadow> shadow;  // null until it is routed to as one
    bool routed = false;
  };
  std::shared_ptr<Loaded> find(std::uint64_t key);
  std::unique_ptr<engine::RouteTable> build(const std::vector<RouteSpec>& routes);
  engine::Route build_route(const RouteSpec& spec, engine::RouteTable& table);
  std::shared_ptr<engine::Target> target(std::uint64_t key, engine::Arm arm, std::uint64_t epoch);
  std::shared_ptr<engine::Shadow> shadow(std::uint64_t key);
  std::vector<std::shared_ptr<Loaded>> all_loaded();
  std::vector<std::shared_ptr<engine::Shadow>> all_shadows();
  void accept(int fd);
  void complain(const std::string& text);
  bool waiting(std::string_view model, std::string_view version);
  // Keeps `stop` waiting while shards and executors are asked for something. Throws ControlError once there
  // are none.
  std::unique_lock<std::mutex> reach();
  template <class F>
  void on_every_writer(F&& task);

  ColdQueue cold_;
  std::shared_ptr<engine::Runtime> runtime_;
  std::shared_ptr<void> log_;
  engine::RoutePointer pointer_;
  engine::Shared shared_;
  std::mutex publish_mutex_;  // one publish at a time
  std::unique_ptr<engine::RouteTable> table_;
  std::uint64_t generation_ = 0;
  std::uint64_t next_target_ = 1;
  std::set<std::shared_ptr<engine::Shadow>> shadows_;  // of the table in force

  std::mutex writers_mutex_;  // whoever reaches for shards and executors, one at a time; before `mutex_`
  std::mutex mutex_;          // everything below
  std::map<std::uint64_t, std::shared_ptr<Loaded>> models_;
  ServerLimits limits_;
  std::shared_ptr<const wire::TlsContext> tls_;
  std::vector<std::pair<std::string, std::string>> loading_;  // name and version
  bool stopped_ = false;
  std::condition_variable stopping_;

  std::vector<std::unique_ptr<Shard>> shards_;
  std::unique_ptr<Listener> listener_;
  std::int64_t complained_ns_ = 0;  // both touched by the listener's thread alone
  std::uint64_t turned_away_ = 0;   // connections, since then
};

}  // namespace kedge::net
