// What the control plane asks: load, run, retire, snapshot.
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
  loaded->pool =
      std::make_unique<engine::ExecutorPool>(loaded->model, std::move(ports), shared_.sealing, queue);
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

std::int64_t Server::retire(std::uint64_t key, std::chrono::nanoseconds grace) {
  const auto deadline = std::chrono::steady_clock::now() + grace;
  auto reaching = reach();
  std::shared_ptr<Loaded> loaded = find(key);
  std::shared_ptr<engine::Shadow> shadow;
  {
    const std::lock_guard lock(mutex_);
    shadow = loaded->shadow;
  }
  // Shards drop what they picked before the last publish at their next turn; then only executors hold
  // requests.
  for (const auto& shard : shards_) {
    shard->call([] {});
  }
  while (loaded->pool->under_way() != 0 || (shadow != nullptr && !shadow->ended())) {
    reaching.unlock();
    if (std::chrono::steady_clock::now() >= deadline) {
      throw ControlError("version '" + loaded->model->config().version + "' of model '" +
                         loaded->model->config().name + "' still runs requests; retire it again later");
    }
    std::this_thread::sleep_for(kRetirePoll);
    reaching = reach();
    loaded = find(key);  // another call may have retired it meanwhile
  }
  {
    const std::lock_guard lock(mutex_);
    if (models_.erase(key) == 0) throw ControlError("the handle is unknown, or was retired");
    loaded->shadow.reset();
  }
  loaded->model->retire();
  const auto inherit = [this](engine::Observer& counts) {
    // The counts of a thread outlive it.
    Shard& heir = *shards_.front();
    heir.call([&] { heir.pipeline().observer().absorb(std::move(counts)); });
  };
  for (auto& done : loaded->pool->on_each(inherit)) done.wait();
  if (shadow != nullptr) {
    shadow->stop();
    shadow->post(inherit).wait();
    shadow.reset();
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
  const auto reaching = reach();
  for (const auto& shard : shards_) {
    shard->call([&] { task(shard->pipeline().observer()); });
  }
  std::mutex one_at_a_time;
  const auto in_turn = [&](engine::Observer& observer) {
    const std::lock_guard lock(one_at_a_time);
    task(observer);
  };
  for (const auto& each : all_loaded()) {
    for (auto& done : each->pool->on_each(in_turn)) done.wait();
  }
  // Last, for they count what those before them offered.
  for (const auto& shadow : all_shadows()) shadow->post(in_turn).wait();
}

std::vector<std::shared_ptr<Server::Loaded>> Server::all_loaded() {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Loaded>> loaded;
  for (const auto& [key, each] : models_) loaded.push_back(each);
  return loaded;
}

std::vector<std::shared_ptr<engine::Shadow>> Server::all_shadows() {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<engine::Shadow>> shadows;
  for (const auto& [key, each] : models_) {
    if (each->shadow != nullptr) shadows.push_back(each->shadow);
  }
  return shadows;
}

std::vector<engine::CellCounts> Server::snapshot() {
  std::vector<engine::CellCounts> all;
  on_every_writer([&](engine::Observer& observer) {
    for (engine::CellCounts& cell : observer.snapshot()) all.push_back(std::move(cell));
  });
  return all;
}

void Server::forget(const std::string& bundle) {
  // Only a model's own threads and the shards count for it, and the former are gone with it.
  const std::lock_guard counting(writers_mutex_);
  for (const auto& each : all_loaded()) {
    if (each->model->config().bundle == bundle) throw ControlError("the bundle is loaded");
  }
  for (const auto& shard : shards_) {
    shard->call([&] { shard->pipeline().observer().drop(bundle); });
  }
}

std::vector<engine::SampledRow> Server::reservoir(std::uint64_t key) {
  find(key);
  std::vector<engine::SampledRow> all;
  on_every_writer([&](engine::Observer& observer) {
    for (engine::SampledRow& row : observer.sample(key)) all.push_back(std::move(row));
  });
  return all;
}

std::vector<engine::SampledRow> Server::suspects(std::uint64_t key) {
  return find(key)->model->suspects().take();
}

void Server::confide(std::uint64_t key, double threshold) {
  engine::Model& model = *find(key)->model;
  if (!model.config().calibration.has_value()) {
    throw ControlError("version '" + model.config().version + "' of model '" + model.config().name +
                       "' has no calibration scores");
  }
  model.confide(threshold);
}

std::int64_t Server::inline_rows(std::uint64_t key) { return find(key)->model->inline_rows(); }

}  // namespace kedge::net
