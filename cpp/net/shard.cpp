#include "net/shard.hpp"

#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <stdexcept>

#include "net/limits.hpp"

namespace kedge::net {
namespace {

constexpr std::int64_t kForever = -1;

}  // namespace

Shard::Shard(const ShardOptions& options, engine::Shared& shared, ColdQueue* cold)
    : index_(options.index),
      shared_(shared),
      budget_(options.max_bytes),
      pipeline_(options.index, shared, [this] { flush_dirty(); }),
      cold_(options.index, cold),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      timer_(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)),
      scratch_(kReadBytes) {
  epoll_event event{};
  event.events = EPOLLIN;
  bool made = epoll_ >= 0 && wake_ >= 0 && timer_ >= 0;
  for (int* const own : {&wake_, &timer_}) {
    event.data.ptr = own;  // tells it from a connection
    made = made && ::epoll_ctl(epoll_, EPOLL_CTL_ADD, *own, &event) == 0;
  }
  if (!made) {
    for (const int fd : {epoll_, wake_, timer_}) ::close(fd);
    throw std::runtime_error("cannot make an epoll instance: too many open files?");
  }
  tick_every(kTickNs);
  thread_ = std::thread([this] { loop(); });
}

Shard::~Shard() {
  stop();
  ::close(epoll_);
  ::close(wake_);
  ::close(timer_);
}

void Shard::stop() {
  stopping_.store(true);
  wake();
  if (!thread_.joinable()) return;
  thread_.join();
}

void Shard::wake() {
  const std::uint64_t one = 1;
  // A full counter wakes as well; nothing else can fail.
  [[maybe_unused]] const ssize_t wrote = ::write(wake_, &one, sizeof one);
}

void Shard::post(std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    has_tasks_.store(true);
    if (woken_.exchange(true)) return;
  }
  wake();
}

void Shard::post_unhurried(std::function<void()> task) {
  const std::lock_guard lock(mutex_);
  tasks_.push_back(std::move(task));
  has_tasks_.store(true);
}

void Shard::call(std::function<void()> task) {
  std::promise<void> done;
  post([&] {
    task();
    done.set_value();
  });
  done.get_future().wait();
}

void Shard::adopt(int fd, const wire::GrpcOptions& options, std::shared_ptr<const wire::TlsContext> tls) {
  connection_count_.fetch_add(1, std::memory_order_relaxed);
  post([this, fd, options, tls = std::move(tls)] {
    if (!budget_.try_take(limits::connection_overhead_bytes)) {
      ::close(fd);
      connection_count_.fetch_sub(1, std::memory_order_relaxed);
      return;
    }
    budget_.give_back(limits::connection_overhead_bytes);  // the connection takes it
    connections_.push_back(std::make_unique<Connection>(*this, index_, fd, budget_, options, tls));
    Connection& connection = *connections_.back();
    epoll_event event{};
    event.events = connection.events = EPOLLIN;
    event.data.ptr = &connection;
    if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) close(connection);
    if (draining()) connection.drain();
  });
}

void Shard::answered(std::vector<engine::Request*> requests) {
  post([this, requests = std::move(requests)] { pipeline_.answered(requests); });
}

void Shard::released(std::vector<engine::Request*> requests) {
  post([this, requests = std::move(requests)] { pipeline_.released(requests); });
}

void Shard::drain() {
  for (auto& connection : connections_) connection->drain();
  pipeline_.expire(engine::monotonic_ns());
  tick_every(kDrainTickNs);
}

void Shard::fail_all() {
  pipeline_.fail_all();
  cold_.fail_all();
}

std::size_t Shard::under_way() const {
  std::size_t calls = 0;
  for (const auto& connection : connections_) calls += connection->open_calls();
  return pipeline_.under_way() + calls - std::min(calls, cold_.open_calls());
}

void Shard::watch(Connection& connection, bool read, bool write) {
  const std::uint32_t wanted = (read ? std::uint32_t{EPOLLIN} : 0U) | (write ? std::uint32_t{EPOLLOUT} : 0U);
  if (connection.events == wanted) return;
  connection.events = wanted;
  epoll_event event{};
  event.events = wanted;
  event.data.ptr = &connection;
  ::epoll_ctl(epoll_, EPOLL_CTL_MOD, connection.fd(), &event);
}

// A turn: wait, read, run, write, count.
void Shard::loop() {
  const wire::Memory::Use use(memory_);
  std::array<epoll_event, kEventsPerTurn> events;
  while (!stopping_.load(std::memory_order_relaxed)) {
    const std::size_t count = wait(events);
    const std::int64_t now = engine::monotonic_ns();
    pipeline_.set_turn(now);
    pipeline_.refresh();
    for (std::size_t i = 0; i < count; ++i) {
      void* const source = events[i].data.ptr;
      if (source == &wake_ || source == &timer_) {
        std::uint64_t count_of = 0;
        [[maybe_unused]] const ssize_t got = ::read(*static_cast<int*>(source), &count_of, sizeof count_of);
        tick_due_ = tick_due_ || source == &timer_;
        continue;
      }
      auto* connection = static_cast<Connection*>(source);
      if ((events[i].events & EPOLLOUT) != 0) connection->mark_dirty();
      if ((events[i].events & ~std::uint32_t{EPOLLOUT}) != 0 && !connection->backlogged) {
        connection->backlogged = true;
        ready_.push_back(connection);
      }
    }
    if (has_tasks_.load(std::memory_order_acquire)) run_tasks();
    read_ready();
    pipeline_.run_batches();
    flush_dirty();
    pipeline_.observe();
    if (tick_due_) tick(now);
    if (closed_some_) reap();
  }
  run_tasks();
  connections_.clear();
  shared_.routes.sleep(index_);
}

// Blocks until something happens. While it does, this shard picks from no table.
std::size_t Shard::wait(std::span<epoll_event> events) {
  const std::int64_t due_at = pipeline_.next_due_ns();
  std::int64_t left = kForever;
  if (due_at != 0) left = std::max<std::int64_t>(due_at - engine::monotonic_ns(), 0);
  if (!ready_.empty()) left = 0;
  const timespec timeout{static_cast<time_t>(left / 1'000'000'000), static_cast<long>(left % 1'000'000'000)};
  until_due_.store(left > 0, std::memory_order_relaxed);
  if (left != 0) shared_.routes.sleep(index_);
  const int count = ::epoll_pwait2(epoll_, events.data(), static_cast<int>(events.size()),
                                   left == kForever ? nullptr : &timeout, nullptr);
  if (left != 0) shared_.routes.wake(index_);
  return count > 0 ? static_cast<std::size_t>(count) : 0;
}

void Shard::run_tasks() {
  std::vector<std::function<void()>> tasks;
  {
    const std::lock_guard lock(mutex_);
    tasks.swap(tasks_);
    has_tasks_.store(false);
    woken_.store(false);
  }
  for (auto& task : tasks) task();
}

// Reads from connections in the order they wait, until the turn is over; the rest go first in the next.
void Shard::read_ready() {
  std::size_t requests = 0;
  std::size_t done = 0;
  const std::int64_t start = ready_.empty() ? 0 : engine::monotonic_ns();
  for (; done < ready_.size(); ++done) {
    Connection& connection = *ready_[done];
    connection.backlogged = false;
    if (connection.closing) continue;
    if (!connection.read(scratch_, decrypted_)) close(connection);
    requests += pipeline_.take_decoded();
    if (requests >= kTurnRequests || (requests > 1 && engine::monotonic_ns() - start >= kTurnNs)) {
      ++done;
      break;
    }
  }
  ready_.erase(ready_.begin(), ready_.begin() + static_cast<std::ptrdiff_t>(done));
}

void Shard::flush_dirty() {
  for (std::size_t i = 0; i < dirty_.size(); ++i) {
    Connection& connection = *dirty_[i];
    if (connection.closing) continue;
    if (!connection.flush()) close(connection);
  }
  dirty_.clear();
}

// Leaves epoll at once. Without that, AddressSanitizer saw events of connections that were gone; epoll keeps
// a socket for as long as anyone, such as a child process between fork and exec, holds a copy of it.
void Shard::close(Connection& connection) {
  if (connection.closing) return;
  ::epoll_ctl(epoll_, EPOLL_CTL_DEL, connection.fd(), nullptr);
  connection.closing = true;
  closed_some_ = true;
}

// At the end of a turn: nothing refers to a closed connection any more.
void Shard::reap() {
  closed_some_ = false;
  std::erase_if(ready_, [](const Connection* connection) { return connection->closing; });
  std::erase_if(dirty_, [](const Connection* connection) { return connection->closing; });
  const std::size_t closed =
      std::erase_if(connections_, [](const auto& connection) { return connection->closing; });
  connection_count_.fetch_sub(closed, std::memory_order_relaxed);
}

// A timer of its own costs nothing while requests flow; a time-out would be armed and disarmed around every
// wait.
void Shard::tick_every(std::int64_t nanoseconds) {
  const timespec period{static_cast<time_t>(nanoseconds / 1'000'000'000),
                        static_cast<long>(nanoseconds % 1'000'000'000)};
  const itimerspec when{period, period};
  ::timerfd_settime(timer_, 0, &when, nullptr);
}

void Shard::tick(std::int64_t now) {
  tick_due_ = false;
  for (auto& connection : connections_) {
    if (!connection->tick(now)) close(*connection);
  }
  relieve();
  pipeline_.expire(now);
  flush_dirty();
  memory_.trim();
}

// Whoever holds most goes when others were refused for want of memory: a few clients that send and never
// finish, or ask and never read, must not keep it from everyone for good.
void Shard::relieve() {
  if (!budget_.take_shortage()) return;
  const auto most =
      std::max_element(connections_.begin(), connections_.end(),
                       [](const auto& a, const auto& b) { return a->held_bytes() < b->held_bytes(); });
  if (most != connections_.end()) close(**most);
}

}  // namespace kedge::net
