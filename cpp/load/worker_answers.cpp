// What a worker makes of answers, and of requests that got none.
#include <algorithm>

#include "load/answer.hpp"
#include "load/request_id.hpp"
#include "load/worker.hpp"

namespace kedge::load {

namespace {

// Between two looks at them.
constexpr std::size_t max_samples = 65'536;

}  // namespace

void Worker::message(Exchange& exchange, wire::Bytes bytes) {
  Answer answer;
  if (!decode(bytes, answer)) {
    exchange.broken = true;
    return;
  }
  exchange.origin = tally_.origin(answer.bundle, answer.version);
  exchange.wrong_id = !answer.id.empty() && answer.id != id_of(exchange.ask);
  if (options_.sample_share > 0 && !answer.prediction_id.empty() &&
      static_cast<double>(sampling_() >> 11) * 0x1p-53 < options_.sample_share) {
    exchange.prediction_id = answer.prediction_id;
  }
}

void Worker::closed(Exchange& exchange, End end) {
  --open_;
  const std::int64_t now = clock_ns() - start_ns_;
  switch (end) {
    case End::answered:
      return answered(exchange, now);
    case End::malformed:
      if (tally_.malformed_text.empty()) {
        tally_.malformed_text = exchange.http_status != 200
                                    ? "HTTP status " + std::to_string(exchange.http_status)
                                    : std::string("an answer that is no whole gRPC message with a status");
      }
      return fail(Failure::malformed, now);
    case End::reset:
      return fail(Failure::reset, now);
    case End::refused:
      return fail(Failure::refused, now);
    case End::connection:
      return fail(ending_ ? Failure::unanswered : Failure::connection, now);
  }
}

void Worker::answered(Exchange& exchange, std::int64_t now) {
  if (exchange.wrong_id) {
    if (tally_.malformed_text.empty()) tally_.malformed_text = "an answer with another request's id";
    return fail(Failure::malformed, now);
  }
  const auto status = static_cast<std::size_t>(exchange.grpc_status);
  const std::int64_t latency = now - exchange.ask.intended_ns;
  const std::int64_t service = now - exchange.ask.sent_ns;
  ++tally_.statuses[status];
  tally_.ended_ns = now;
  Interval& place = interval(now);
  if (status != 0) {
    constexpr std::size_t resource_exhausted = 8;
    ++(status == resource_exhausted ? place.shed : place.failed);
    ++not_ok_;
    tally_.other_latency.record(latency);
    tally_.other_service.record(service);
    if (tally_.texts[status].empty()) tally_.texts[status] = exchange.text;
    return;
  }
  ++tally_.ok;
  ++place.ok;
  place.latency.record(latency);
  tally_.latency.record(latency);
  tally_.service.record(service);
  if (options_.deadline_ns == 0 || latency <= options_.deadline_ns) ++tally_.good;
  ++tally_.origins[exchange.origin].count;
  if (!exchange.prediction_id.empty()) {
    const std::lock_guard lock(samples_mutex_);
    if (samples_.size() < max_samples) {
      samples_.push_back({std::move(exchange.prediction_id), exchange.ask.message});
    }
  }
}

void Worker::fail(Failure failure, std::int64_t now) {
  ++tally_.failures[static_cast<std::size_t>(failure)];
  ++not_ok_;
  ++interval(now).failed;
}

Interval& Worker::interval(std::int64_t now) {
  const auto at = static_cast<std::size_t>(std::max<std::int64_t>(0, now) / interval_ns_);
  if (at >= tally_.intervals.size()) tally_.intervals.resize(at + 1);
  return tally_.intervals[at];
}

void Worker::finish() {
  ending_ = true;
  const std::int64_t now = clock_ns() - start_ns_;
  for (const Due& due : backlog_) {
    static_cast<void>(due);
    fail(Failure::unsent, now);
  }
  backlog_.clear();
  for (const auto& each : connections_) {
    each->close();
    tally_.bytes_in += each->bytes_in();
    tally_.bytes_out += each->bytes_out();
    tally_.reconnects += each->reconnects();
  }
  tally_.ended_ns = std::max(tally_.ended_ns, planned_until_ns_);
}

std::vector<Sample> Worker::take_samples() {
  const std::lock_guard lock(samples_mutex_);
  return std::exchange(samples_, {});
}

}  // namespace kedge::load
