#include "engine/executor.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>

namespace kedge::engine {
namespace {

constexpr int kNice = 5;                  // shards answer everybody; an executor answers one model
constexpr std::int64_t kAverageOver = 8;  // runs

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

void ExecutorPool::submit(const std::shared_ptr<const Target>& target, std::span<Request* const> requests,
                          std::vector<Refused>& refused) {
  const std::size_t before = refused.size();
  {
    const std::lock_guard lock(mutex_);
    const std::int64_t now = monotonic_ns();
    for (Request* request : requests) {
      if (queue_.size() >= max_queue_) {
        refused.push_back({request, Shed::full});
      } else if (!in_time(*request, now)) {
        refused.push_back({request, Shed::late});
      } else {
        queue_.push_back({target, request});
        waiting_rows_ += request->rows;
        under_way_.fetch_add(1, std::memory_order_relaxed);
      }
    }
  }
  if (refused.size() - before < requests.size()) ready_.notify_one();
}

// Whether a request that is queued now will have run by its deadline, as far as runs so far tell; with the
// lock held. First come, first served would otherwise fill the queue up to where every request's turn comes
// just too late, and all runs would be for nothing. A quarter of the time is left for what is not foreseen.
bool ExecutorPool::in_time(const Request& request, std::int64_t now) const {
  if (request.deadline_ns == 0 || queue_.size() + running_ < threads_.size()) return true;
  const ModelConfig& config = model_->config();
  const std::int64_t runs = config.batchable ? (waiting_rows_ + request.rows - 1) / config.max_batch
                                             : static_cast<std::int64_t>(queue_.size());
  const std::int64_t wait = (2 * runs + 1) * run_ns_ / (2 * static_cast<std::int64_t>(threads_.size()));
  return wait <= (request.deadline_ns - now - run_ns_) / 4 * 3;
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
      waiting_rows_ -= waiting.request->rows;
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
  std::vector<Waiting> dropped;
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
    Batch batch = take(lock, dropped);
    if (batch.requests.empty()) continue;
    if (!queue_.empty() && threads_.size() > 1) ready_.notify_one();  // one call woke one thread
    ++running_;
    lock.unlock();
    give_up(dropped, worker);
    dropped.clear();
    all = batch.requests;
    finish(batch, all, worker);
    lock.lock();
  }
}

// Takes from the front what could not be answered by its deadline any more; with the lock held. The last one
// is always tried: what is known of runs may be wrong, and only runs put it right.
void ExecutorPool::drop_hopeless(std::vector<Waiting>& dropped) {
  const std::int64_t done = monotonic_ns() + run_ns_;
  while (queue_.size() > 1) {
    const Request& first = *queue_.front().request;
    if (first.deadline_ns == 0 || first.deadline_ns >= done) return;
    waiting_rows_ -= first.rows;
    dropped.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
}

// What waits and may run together, from the front; with the lock held. A model that asks for a delay gets it
// here.
Batch ExecutorPool::take(std::unique_lock<std::mutex>& lock, std::vector<Waiting>& dropped) {
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
  drop_hopeless(dropped);
  Batch batch{queue_.front().target, {queue_.front().request}, queue_.front().request->rows, 0};
  waiting_rows_ -= batch.rows;
  queue_.pop_front();
  if (!config.batchable) return batch;
  for (auto at = queue_.begin(); at != queue_.end() && batch.rows < config.max_batch;) {
    Request* request = at->request;
    if (at->target == batch.target && batch.rows + request->rows <= config.max_batch &&
        joins(*batch.requests.front(), *request)) {
      batch.requests.push_back(request);
      batch.rows += request->rows;
      waiting_rows_ -= request->rows;
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
  const std::int64_t begun = monotonic_ns();
  worker.run(batch, worker.lane(model_));
  const std::int64_t took = batch.requests.empty() ? 0 : monotonic_ns() - begun;
  model_->saw_run(thread_cpu_ns() - start, batch.rows);
  {
    // Before the answers leave: who gets one may ask again at once, and must find this thread free.
    const std::lock_guard lock(mutex_);
    --running_;
    if (took > 0) run_ns_ += run_ns_ == 0 ? took : (took - run_ns_) / kAverageOver;
  }
  const auto parts = by_shard(all);
  for (std::size_t shard = 0; shard < parts.size(); ++shard) {
    if (!parts[shard].empty()) ports_[shard]->answered(parts[shard]);
  }
  worker.observe();
  batch.target.reset();
  release(parts, all.size());
}

// Answers those whose time is not enough for a run.
void ExecutorPool::give_up(const std::vector<Waiting>& dropped, Worker& worker) {
  if (dropped.empty()) return;
  std::vector<Request*> requests;
  for (const Waiting& waiting : dropped) {
    worker.give_up(waiting.target, *waiting.request);
    requests.push_back(waiting.request);
  }
  const auto parts = by_shard(requests);
  for (std::size_t shard = 0; shard < parts.size(); ++shard) {
    if (!parts[shard].empty()) ports_[shard]->answered(parts[shard]);
  }
  release(parts, requests.size());
}

void ExecutorPool::release(const std::vector<std::vector<Request*>>& parts, std::size_t count) {
  under_way_.fetch_sub(count, std::memory_order_release);
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
