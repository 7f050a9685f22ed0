#include "engine/executor.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>

namespace kedge::engine {
namespace {

constexpr int kNice = 5;  // shards answer everybody; an executor answers one model

}  // namespace

ExecutorPool::ExecutorPool(std::shared_ptr<Model> model, std::vector<ReturnPort*> ports, Sealing& sealing,
                           std::size_t max_queue)
    : model_(std::move(model)),
      ports_(std::move(ports)),
      sealing_(sealing),
      max_queue_(max_queue),
      threads_(static_cast<std::size_t>(model_->config().instances)) {
  for (std::size_t i = 0; i < threads_.size(); ++i) threads_[i].thread = std::thread([this, i] { work(i); });
}

ExecutorPool::~ExecutorPool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  ready_.notify_all();
  for (Thread& each : threads_) each.thread.join();
  std::vector<Request*> left;
  for (const Waiting& waiting : queue_) {
    waiting.request->answer.code = Code::kUnavailable;
    waiting.request->answer.message = "the model is being retired; try again";
    left.push_back(waiting.request);
  }
  const auto parts = by_shard(left);
  for (std::size_t shard = 0; shard < parts.size(); ++shard) {
    if (parts[shard].empty()) continue;
    ports_[shard]->answered(parts[shard]);
    ports_[shard]->released(parts[shard]);
  }
}

bool ExecutorPool::submit(const std::shared_ptr<const Target>& target, std::span<Request* const> requests) {
  {
    const std::lock_guard lock(mutex_);
    if (queue_.size() + requests.size() > max_queue_) return false;
    for (Request* request : requests) queue_.push_back({target, request});
    under_way_.fetch_add(requests.size(), std::memory_order_relaxed);
  }
  ready_.notify_one();
  return true;
}

std::vector<ExecutorPool::Waiting> ExecutorPool::take_expired(std::uint32_t shard, std::int64_t now,
                                                              std::int64_t& next) {
  std::vector<Waiting> expired;
  next = 0;
  const std::lock_guard lock(mutex_);
  std::erase_if(queue_, [&](const Waiting& waiting) {
    const std::int64_t deadline = waiting.request->deadline_ns;
    if (waiting.request->shard != shard || deadline == 0) return false;
    if (deadline <= now) {
      expired.push_back(waiting);
      return true;
    }
    next = next == 0 ? deadline : std::min(next, deadline);
    return false;
  });
  under_way_.fetch_sub(expired.size(), std::memory_order_release);
  return expired;
}

std::vector<std::future<void>> ExecutorPool::on_each(const std::function<void(Observer&)>& task) {
  std::vector<std::future<void>> done;
  {
    const std::lock_guard lock(mutex_);
    for (Thread& each : threads_) {
      each.tasks.emplace_back(task);
      done.push_back(each.tasks.back().get_future());
    }
  }
  ready_.notify_all();
  return done;
}

void ExecutorPool::work(std::size_t index) {
  setpriority(PRIO_PROCESS, 0, kNice);  // on Linux of this thread alone
  Worker worker(sealing_);
  std::vector<Request*> all;
  std::unique_lock lock(mutex_);
  while (true) {
    ready_.wait(lock, [&] { return stopping_ || !queue_.empty() || !threads_[index].tasks.empty(); });
    if (!threads_[index].tasks.empty()) {
      auto tasks = std::exchange(threads_[index].tasks, {});
      lock.unlock();
      worker.observer().fold();
      for (auto& task : tasks) task(worker.observer());
      lock.lock();
      continue;
    }
    if (stopping_) return;
    Batch batch = take(lock);
    if (batch.requests.empty()) continue;
    lock.unlock();
    all = batch.requests;
    finish(batch, all, worker);
    lock.lock();
  }
}

// What waits and may run together, from the front; with the lock held. A model that asks for a delay gets it
// here.
Batch ExecutorPool::take(std::unique_lock<std::mutex>& lock) {
  const ModelConfig& config = model_->config();
  if (config.max_queue_delay_us > 0 && config.batchable) {
    const auto full = [&] {
      std::int64_t rows = 0;
      for (const Waiting& waiting : queue_) rows += waiting.request->rows;
      return stopping_ || rows >= config.max_batch;
    };
    const std::int64_t waited = monotonic_ns() - queue_.front().request->received_ns;
    const std::int64_t left = config.max_queue_delay_us * 1000 - waited;
    if (left > 0) ready_.wait_for(lock, std::chrono::nanoseconds(left), full);
    if (queue_.empty()) return {};
  }
  Batch batch{queue_.front().target, {queue_.front().request}, queue_.front().request->rows, 0};
  queue_.pop_front();
  if (!config.batchable) return batch;
  for (auto at = queue_.begin(); at != queue_.end() && batch.rows < config.max_batch;) {
    Request* request = at->request;
    if (at->target == batch.target && batch.rows + request->rows <= config.max_batch &&
        joins(*batch.requests.front(), *request)) {
      batch.requests.push_back(request);
      batch.rows += request->rows;
      at = queue_.erase(at);
    } else {
      ++at;
    }
  }
  return batch;
}

// Runs the batch and hands every request of `all` back: first to be answered, and once counted to be let go.
void ExecutorPool::finish(Batch& batch, std::vector<Request*>& all, Worker& worker) {
  const std::int64_t start = thread_cpu_ns();
  worker.run(batch, worker.lane(model_));
  model_->saw_run(thread_cpu_ns() - start, batch.rows);
  const auto parts = by_shard(all);
  for (std::size_t shard = 0; shard < parts.size(); ++shard) {
    if (!parts[shard].empty()) ports_[shard]->answered(parts[shard]);
  }
  worker.observe();
  batch.target.reset();
  under_way_.fetch_sub(all.size(), std::memory_order_release);
  for (std::size_t shard = 0; shard < parts.size(); ++shard) {
    if (!parts[shard].empty()) ports_[shard]->released(parts[shard]);
  }
}

std::vector<std::vector<Request*>> ExecutorPool::by_shard(const std::vector<Request*>& requests) const {
  std::vector<std::vector<Request*>> parts(ports_.size());
  for (Request* request : requests) parts[request->shard].push_back(request);
  return parts;
}

}  // namespace kedge::engine
