#include "load/worker.hpp"

#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <stdexcept>

#include "load/request_id.hpp"

namespace kedge::load {

namespace {

constexpr std::int64_t second_ns = 1'000'000'000;
// Requests that wait for a stream: 16 bytes each.
constexpr std::size_t max_backlog = std::size_t{1} << 20;
// Stretches of the series; longer runs have longer ones.
constexpr std::int64_t max_intervals = 3600;
constexpr std::size_t scratch_bytes = 128 * 1024;
constexpr std::size_t max_events = 64;
constexpr int idle_ms = 100;
constexpr int uneasy_ms = 10;
// After a stop, for what is on its way.
constexpr std::int64_t stop_grace_ns = second_ns;

std::int64_t thread_cpu_ns() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return time.tv_sec * second_ns + time.tv_nsec;
}

std::uint64_t part(std::uint64_t total, std::uint64_t index, std::uint64_t count) {
  return total / count + (index < total % count ? 1 : 0);
}

}  // namespace

std::int64_t clock_ns() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * second_ns + time.tv_nsec;
}

Worker::Worker(const Options& options, std::uint32_t index, std::uint32_t count)
    : options_(options),
      first_message_(options.messages.size() * index / count),
      most_requests_(part(options.requests, index, count)),
      interval_ns_(second_ns *
                   std::max<std::int64_t>(1, options.duration_ns / second_ns / max_intervals + 1)),
      arrivals_(options.pattern, options.rate > 0 ? options.rate / count : 1.0, options.seed + index,
                options.rate > 0 ? 1e9 / options.rate * index : 0.0),
      sampling_(options.seed + index) {
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  timer_ = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  if (epoll_ < 0 || timer_ < 0) {
    const std::string why = std::strerror(errno);
    ::close(epoll_);
    ::close(timer_);
    throw std::runtime_error("no descriptors are left: " + why);
  }
  epoll_event event{};
  event.events = EPOLLIN | static_cast<std::uint32_t>(EPOLLET);  // its expiry is never read
  event.data.ptr = nullptr;
  epoll_ctl(epoll_, EPOLL_CTL_ADD, timer_, &event);
  const std::uint64_t mine = part(options.connections, index, count);
  const std::uint64_t outstanding = part(options.closed, index, count);
  for (std::uint64_t each = 0; each < mine; ++each) {
    SessionEvents& events = *this;
    auto& made = connections_.emplace_back(
        std::make_unique<Connection>(events, options.target, options.streams, epoll_));
    made->allowed = static_cast<std::uint32_t>(part(outstanding, each, mine));
  }
  scratch_.resize(scratch_bytes);
}

Worker::~Worker() {
  ending_ = true;
  connections_.clear();
  ::close(timer_);
  ::close(epoll_);
}

Status Worker::open() {
  for (const auto& each : connections_) each->dial(clock_ns());
  for (;;) {
    bool all = true;
    for (const auto& each : connections_) {
      if (each->state() > Connection::State::ready) return {Code::kUnavailable, each->why()};
      all = all && each->state() == Connection::State::ready;
    }
    if (all) return {};
    if (stopping_.load(std::memory_order_relaxed)) return {Code::kCancelled, "stopped before it began"};
    turn(uneasy_ms);
    flush(clock_ns());
    care(clock_ns());
  }
}

void Worker::run(std::int64_t start_ns) {
  start_ns_ = start_ns;
  const timespec begin{start_ns / second_ns, start_ns % second_ns};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &begin, nullptr) == EINTR) {
  }
  const std::int64_t cpu_before = thread_cpu_ns();
  planned_until_ns_ = options_.duration_ns;
  if (options_.rate > 0) next_ns_ = arrivals_.next();
  std::int64_t grace_ns = options_.grace_ns;
  std::int64_t next_care = 0;
  for (;;) {
    const std::int64_t now = clock_ns() - start_ns_;
    if (stopping_.load(std::memory_order_relaxed)) {
      grace_ns = std::min(grace_ns, stop_grace_ns);
      if (planning_) planned_until_ns_ = now;
      planning_ = false;
    }
    if (options_.rate > 0) {
      plan(now);
      fill_open(now);
    } else {
      fill_closed(now);
    }
    flush(start_ns_ + now);
    shown_planned_.store(tally_.planned, std::memory_order_relaxed);
    shown_ok_.store(tally_.ok, std::memory_order_relaxed);
    shown_not_ok_.store(not_ok_, std::memory_order_relaxed);
    if (!planning_ && open_ == 0 && backlog_.empty()) break;
    if (!planning_ && now > planned_until_ns_ + grace_ns) break;
    if (now >= next_care) {
      care(start_ns_ + now);
      next_care = now + uneasy_ms * (second_ns / 1000);
      if (!any_left()) {
        tally_.lost = true;
        break;
      }
    }
    wait(now);
  }
  finish();
  tally_.cpu_ns = thread_cpu_ns() - cpu_before;
}

void Worker::plan(std::int64_t now) {
  while (planning_) {
    if (next_ns_ >= options_.duration_ns || (options_.requests > 0 && tally_.planned == most_requests_)) {
      planning_ = false;
      planned_until_ns_ = now;
      return;
    }
    if (next_ns_ > now) return;
    const std::int64_t lag = now - next_ns_;
    tally_.lag.record(lag);
    if (lag >= late_after_ns) ++tally_.late;
    ++interval(now).planned;
    const Due due{next_ns_, tally_.planned++};
    if (backlog_.size() < max_backlog) {
      backlog_.push_back(due);
    } else {
      fail(Failure::unsent, now);
    }
    next_ns_ = arrivals_.next();
  }
}

Connection* Worker::with_room() {
  for (std::size_t tries = connections_.size(); tries > 0; --tries) {
    Connection& connection = *connections_[next_connection_];
    next_connection_ = next_connection_ + 1 == connections_.size() ? 0 : next_connection_ + 1;
    if (connection.has_room()) return &connection;
  }
  return nullptr;
}

void Worker::fill_open(std::int64_t now) {
  while (!backlog_.empty()) {
    const Due due = backlog_.front();
    if (options_.deadline_ns > 0 && now - due.intended_ns > options_.deadline_ns) {
      backlog_.pop_front();
      fail(Failure::expired, now);
      continue;
    }
    Connection* const connection = with_room();
    if (connection == nullptr) break;
    backlog_.pop_front();
    if (!send(*connection, due, now)) fail(Failure::unsent, now);
  }
  if (!backlog_.empty()) {  // each counts once, in the turn in which it was planned
    tally_.waited += backlog_.back().number + 1 - std::max(waited_from_, backlog_.front().number);
  }
  waited_from_ = tally_.planned;
}

void Worker::fill_closed(std::int64_t now) {
  for (const auto& each : connections_) {
    while (planning_ && each->open() < each->allowed && each->has_room()) {
      if (now >= options_.duration_ns || (options_.requests > 0 && tally_.planned == most_requests_)) {
        planning_ = false;
        planned_until_ns_ = now;
        return;
      }
      ++interval(now).planned;
      if (!send(*each, {now, tally_.planned++}, now)) fail(Failure::unsent, now);
    }
  }
  if (planning_ && now >= options_.duration_ns) {
    planning_ = false;
    planned_until_ns_ = now;
  }
}

bool Worker::send(Connection& connection, const Due& due, std::int64_t now) {
  Ask ask;
  ask.message = static_cast<std::uint32_t>((first_message_ + due.number) % options_.messages.size());
  ask.id = static_cast<std::uint32_t>(due.number);
  ask.rest = wire::as_bytes(options_.messages[ask.message]);
  ask.intended_ns = due.intended_ns;
  ask.sent_ns = now;
  write_prefix(ask);
  if (!connection.submit(ask)) return false;
  connection.dirty = true;
  ++open_;
  ++tally_.sent;
  ++interval(now).sent;
  return true;
}

void Worker::flush(std::int64_t now) {
  for (const auto& each : connections_) {
    if (each->dirty) each->flush(now);
  }
}

bool Worker::any_left() const {
  return std::any_of(connections_.begin(), connections_.end(),
                     [](const auto& each) { return each->state() != Connection::State::given_up; });
}

void Worker::care(std::int64_t now) {
  for (const auto& each : connections_) each->redial(now);
}

void Worker::wait(std::int64_t now) {
  int timeout_ms = uneasy_ms;
  if (std::all_of(connections_.begin(), connections_.end(),
                  [](const auto& each) { return each->state() == Connection::State::ready; })) {
    timeout_ms = idle_ms;
  }
  if (planning_ && options_.rate > 0) {
    if (next_ns_ <= now) {
      timeout_ms = 0;
    } else if (timer_at_ != next_ns_) {
      timer_at_ = next_ns_;
      const std::int64_t at = start_ns_ + next_ns_;
      itimerspec when{};
      when.it_value.tv_sec = at / second_ns;
      when.it_value.tv_nsec = at % second_ns;
      timerfd_settime(timer_, TFD_TIMER_ABSTIME, &when, nullptr);
    }
  }
  turn(timeout_ms);
}

void Worker::turn(int timeout_ms) {
  std::array<epoll_event, max_events> events;
  const int count = epoll_wait(epoll_, events.data(), max_events, timeout_ms);
  for (int at = 0; at < count; ++at) {
    if (events[static_cast<std::size_t>(at)].data.ptr == nullptr) continue;
    auto& connection = *static_cast<Connection*>(events[static_cast<std::size_t>(at)].data.ptr);
    connection.act(events[static_cast<std::size_t>(at)].events, scratch_, clock_ns());
    if (tally_.broken_text.empty()) tally_.broken_text = connection.why();
  }
}

Progress Worker::progress() const {
  return {shown_planned_.load(std::memory_order_relaxed), shown_ok_.load(std::memory_order_relaxed),
          shown_not_ok_.load(std::memory_order_relaxed)};
}

}  // namespace kedge::load
