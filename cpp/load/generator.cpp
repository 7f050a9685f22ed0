#include "load/generator.hpp"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <system_error>

namespace kedge::load {

namespace {

// From the last connection to the first request: time for every thread to wake.
constexpr std::int64_t settle_ns = 2'000'000;
constexpr std::int64_t do_not_begin = -1;

// Signals are for the thread that waits; a broken pipe is for nobody.
void block_signals() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
}

}  // namespace

Generator::Generator(Options options) : options_(std::move(options)) {
  const std::uint32_t count = std::min(options_.threads, options_.connections);
  for (std::uint32_t index = 0; index < count; ++index) {
    workers_.push_back(std::make_unique<Worker>(options_, index, count));
  }
}

Generator::~Generator() {
  stop();
  join();
}

Status Generator::start() {
  std::promise<std::int64_t> go;
  const std::shared_future<std::int64_t> gone = go.get_future();
  std::vector<std::future<Status>> opened;
  {
    const std::lock_guard lock(mutex_);
    running_ = workers_.size();
  }
  Status status;
  for (const auto& worker : workers_) {
    std::promise<Status> outcome;
    auto result = outcome.get_future();
    try {
      threads_.emplace_back([this, &one = *worker, gone, promise = std::move(outcome)]() mutable {
        block_signals();
        promise.set_value(one.open());
        const std::int64_t start = gone.get();
        if (start != do_not_begin) one.run(start);
        const std::lock_guard lock(mutex_);
        --running_;
        changed_.notify_all();
      });
    } catch (const std::system_error& error) {
      status = {Code::kResourceExhausted, std::string("no thread is left: ") + error.what()};
      stop();
      break;
    }
    opened.push_back(std::move(result));
  }
  for (auto& each : opened) {
    const Status one = each.get();
    if (status.ok() && !one.ok()) {
      status = one;
      stop();
    }
  }
  go.set_value(status.ok() ? clock_ns() + settle_ns : do_not_begin);
  if (!status.ok()) join();
  return status;
}

bool Generator::wait(double seconds) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::duration<double>(seconds), [this] { return running_ == 0; });
}

void Generator::stop() {
  for (const auto& worker : workers_) worker->stop();
}

void Generator::join() {
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

Progress Generator::progress() const {
  Progress total;
  for (const auto& worker : workers_) {
    const Progress one = worker->progress();
    total.planned += one.planned;
    total.ok += one.ok;
    total.not_ok += one.not_ok;
  }
  return total;
}

std::vector<Sample> Generator::take_samples() {
  std::vector<Sample> all;
  for (const auto& worker : workers_) {
    for (Sample& sample : worker->take_samples()) all.push_back(std::move(sample));
  }
  return all;
}

Tally Generator::tally() const {
  Tally total;
  for (const auto& worker : workers_) total.add(worker->tally());
  return total;
}

double Generator::interval_seconds() const {
  return static_cast<double>(workers_.front()->interval_ns()) / 1e9;
}

}  // namespace kedge::load
