// What the control plane asks: load, run, publish, retire, snapshot.
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "net/server.hpp"

namespace kedge::net {
namespace {

constexpr int kLoaderNice = 10;  // never SCHED_IDLE, which gets next to nothing of a busy machine
constexpr auto kLoaderPatience = std::chrono::seconds(60);
constexpr auto kRetirePoll = std::chrono::milliseconds(1);
constexpr int kSpins = 2000;  // a turn is over within 250 us; sleeping would cost more than that
constexpr auto kPublishPoll = std::chrono::microseconds(20);

std::int64_t resident_bytes() {
  long pages = 0;
  long resident = 0;
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr) return 0;
  const int read = std::fscanf(file, "%ld %ld", &pages, &resident);
  std::fclose(file);
  return read == 2 ? resident * sysconf(_SC_PAGESIZE) : 0;
}

// Runs `work` on a thread that yields to those that serve; after a deadline it may compete with them, so that
// a load on a busy machine comes to an end. Raising a priority takes a privilege; without it, the load stays
// slow.
template <class F>
void at_low_priority(F&& work) {
  std::promise<pid_t> started;
  std::packaged_task<void()> task(work);
  std::future<void> done = task.get_future();
  std::thread loader([&] {
    setpriority(PRIO_PROCESS, 0, kLoaderNice);  // on Linux of this thread alone
    started.set_value(static_cast<pid_t>(gettid()));
    task();
  });
  const pid_t thread = started.get_future().get();
  if (done.wait_for(kLoaderPatience) == std::future_status::timeout) {
    setpriority(PRIO_PROCESS, static_cast<id_t>(thread), 0);
  }
  loader.join();
  done.get();
}

}  // namespace

std::shared_ptr<Server::Loaded> Server::find(std::uint64_t key) {
  const std::lock_guard lock(mutex_);
  const auto found = models_.find(key);
  if (found == models_.end()) throw ControlError("the handle is unknown, or was retired");
  return found->second;
}

void Server::load(engine::ModelConfig config, std::span<const engine::TensorView> sample, bool warm_up) {
  const std::uint64_t key = config.key;
  auto loaded = std::make_shared<Loaded>();
  at_low_priority([&] {
    loaded->model = std::make_shared<engine::Model>(*runtime_, std::move(config));
    loaded->model->measure(sample, warm_up);
  });
  std::vector<engine::ReturnPort*> ports;
  for (const auto& shard : shards_) ports.push_back(shard.get());
  const std::lock_guard lock(mutex_);
  if (stopped_) throw ControlError("the plane was stopped");
  const std::size_t queue = std::min(limits_.max_queue, loaded->model->config().max_queue);
  loaded->pool = std::make_unique<engine::ExecutorPool>(loaded->model, std::move(ports), queue);
  loaded->model->pool = loaded->pool.get();
  models_.emplace(key, std::move(loaded));
}

void Server::announce(const std::string& name, const std::string& version) {
  const std::lock_guard lock(mutex_);
  loading_.emplace_back(name, version);
}

void Server::withdraw(const std::string& name, const std::string& version) {
  const std::lock_guard lock(mutex_);
  const auto found = std::find(loading_.begin(), loading_.end(), std::pair(name, version));
  if (found != loading_.end()) loading_.erase(found);
}

void Server::run(std::uint64_t key, std::span<const engine::TensorView> inputs,
                 const std::function<void(const engine::TensorSpec&, const engine::TensorView&)>& take) {
  const std::shared_ptr<engine::Model> model = find(key)->model;
  engine::Runner runner(model->session(),
                        false);  // whatever shape comes out: the bundle may be wrong about it
  const std::string message = runner.run(inputs);
  if (!message.empty())
    throw ControlError("model '" + model->config().name + "' failed on these rows: " + message);
  const auto specs = model->session()->outputs();
  for (std::size_t i = 0; i < specs.size(); ++i) take(specs[i], runner.outputs()[i]);
}

std::unique_ptr<engine::RouteTable> Server::build(const std::vector<RouteSpec>& routes) {
  auto table = std::make_unique<engine::RouteTable>();
  const auto target = [&](std::uint64_t key, engine::Arm arm, std::uint64_t epoch) {
    const std::shared_ptr<Loaded> loaded = find(key);
    {
      const std::lock_guard lock(mutex_);
      loaded->routed = true;
    }
    auto made = std::make_shared<const engine::Target>(engine::Target{
        loaded->model, arm, epoch, static_cast<std::uint32_t>(table->targets.size()), next_target_++});
    table->targets.push_back(made);
    return made;
  };
  for (const RouteSpec& spec : routes) {
    engine::Route route;
    route.model = spec.model;
    route.epoch = spec.epoch;
    route.sticky_for = spec.sticky_for;
    route.salt = wire::sticky_key(wire::as_bytes(spec.salt));
    double cumulative = 0;
    for (const RouteSpec::ArmSpec& arm : spec.arms) {
      cumulative += arm.share;
      route.arms.push_back(target(arm.key, arm.arm, spec.epoch));
      route.thresholds.push_back(wire::share_threshold(cumulative));
    }
    std::set<std::uint64_t> listed;
    const auto by_version = [&](std::uint64_t key) {
      if (listed.insert(key).second) route.by_version.push_back(target(key, engine::Arm::pinned, spec.epoch));
    };
    for (const RouteSpec::ArmSpec& arm : spec.arms) by_version(arm.key);
    for (const std::uint64_t key : spec.pinned) by_version(key);
    table->routes.emplace(spec.model, std::move(route));
  }
  return table;
}

std::int64_t Server::publish(const std::vector<RouteSpec>& routes) {
  const std::lock_guard publishing(publish_mutex_);
  std::unique_ptr<engine::RouteTable> table = build(routes);
  table->generation = ++generation_;
  const std::int64_t start = engine::monotonic_ns();
  pointer_.store(table.get());
  for (int spin = 0; !pointer_.quiescent(generation_); ++spin) {
    if (spin < kSpins) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(kPublishPoll);
    }
  }
  const std::int64_t taken = engine::monotonic_ns() - start;
  table_ =
      std::move(table);  // nobody picks from the old one any more; its targets live as long as their requests
  for (const auto& shard : shards_) {
    shard->post([&shard] { shard->pipeline().tidy(); });
  }
  return taken;
}

std::int64_t Server::retire(std::uint64_t key, std::chrono::nanoseconds grace) {
  const auto deadline = std::chrono::steady_clock::now() + grace;
  std::shared_ptr<Loaded> loaded = find(key);
  // Shards drop what they picked before the last publish at their next turn; then only executors hold
  // requests.
  for (const auto& shard : shards_) {
    shard->call([] {});
  }
  while (loaded->pool->under_way() != 0) {
    if (std::chrono::steady_clock::now() >= deadline) {
      throw ControlError("version '" + loaded->model->config().version + "' of model '" +
                         loaded->model->config().name + "' still runs requests; retire it again later");
    }
    std::this_thread::sleep_for(kRetirePoll);
  }
  const std::lock_guard counting(writers_mutex_);
  {
    const std::lock_guard lock(mutex_);
    if (models_.erase(key) == 0) throw ControlError("the handle is unknown, or was retired");
  }
  loaded->model->retire();
  for (auto& done : loaded->pool->on_each([this](engine::Observer& counts) {
         // The executor's counts outlive it.
         Shard& heir = *shards_.front();
         heir.call([&] { heir.pipeline().observer().absorb(std::move(counts)); });
       })) {
    done.wait();
  }
  for (const auto& shard : shards_) {
    shard->call([&shard] { shard->pipeline().tidy(); });
  }
  const std::int64_t before = resident_bytes();
  loaded->pool.reset();
  loaded.reset();  // the session ends here, on the caller's thread, unless a `run` still uses it
  malloc_trim(0);
  return std::max<std::int64_t>(before - resident_bytes(), 0);
}

template <class F>
void Server::on_every_writer(F&& task) {
  const std::lock_guard counting(writers_mutex_);
  for (const auto& shard : shards_) {
    shard->call([&] { task(shard->pipeline().observer()); });
  }
  std::vector<std::shared_ptr<Loaded>> loaded;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [key, each] : models_) loaded.push_back(each);
  }
  std::mutex one_at_a_time;
  for (const auto& each : loaded) {
    auto all = each->pool->on_each([&](engine::Observer& observer) {
      const std::lock_guard lock(one_at_a_time);
      task(observer);
    });
    for (auto& done : all) done.wait();
  }
}

std::vector<engine::CellCounts> Server::snapshot() {
  std::vector<engine::CellCounts> all;
  on_every_writer([&](engine::Observer& observer) {
    for (engine::CellCounts& cell : observer.snapshot()) all.push_back(std::move(cell));
  });
  return all;
}

std::vector<engine::SampledRow> Server::reservoir(std::uint64_t key) {
  find(key);
  std::vector<engine::SampledRow> all;
  on_every_writer([&](engine::Observer& observer) {
    for (engine::SampledRow& row : observer.sample(key)) all.push_back(std::move(row));
  });
  return all;
}

std::int64_t Server::inline_rows(std::uint64_t key) { return find(key)->model->inline_rows(); }

}  // namespace kedge::net
