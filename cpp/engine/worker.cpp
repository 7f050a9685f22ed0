#include "engine/worker.hpp"

#include <time.h>

#include "wire/quote.hpp"

namespace kedge::engine {

std::int64_t monotonic_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

void Worker::run(Batch& batch, Lane& lane) {
  drop_expired(batch, monotonic_ns());
  if (batch.requests.empty()) return;
  std::string message = attempt(batch, batch.requests, batch.rows, lane);
  if (message.empty()) return;
  const ModelConfig& config = batch.target->model->config();
  const std::string told =
      "model '" + config.name + "' version '" + config.version + "' failed on this request";
  if (batch.requests.size() == 1) {
    fail(batch.target, *batch.requests.front(), Code::kInternal, told);
    return;
  }
  for (Request*& request : batch.requests) {
    if (request->is_cancelled()) {
      fail(batch.target, *request, Code::kCancelled, "cancelled");
      continue;
    }
    observe();  // the lane is about to be used again
    message = attempt(batch, {&request, 1}, request->rows, lane);
    if (!message.empty()) fail(batch.target, *request, Code::kInternal, told);
  }
}

void Worker::drop_expired(Batch& batch, std::int64_t now) {
  for (Request* request : batch.requests) {
    request->queue_ns = now - request->received_ns;
    const bool late = request->deadline_ns != 0 && now >= request->deadline_ns;
    if (late || request->is_cancelled()) give_up(batch.target, *request);
  }
  std::erase_if(batch.requests, [](const Request* request) { return request->answer.code != Code::kOk; });
  batch.rows = 0;
  for (const Request* request : batch.requests) batch.rows += request->rows;
}

void Worker::give_up(const std::shared_ptr<const Target>& target, Request& request) {
  if (request.is_cancelled()) {
    fail(target, request, Code::kCancelled, "cancelled");
  } else {
    fail(target, request, Code::kDeadlineExceeded,
         "the deadline passed before model " + wire::quoted(target->model->config().name) + " could run");
  }
}

std::string Worker::attempt(const Batch& batch, std::span<Request* const> requests, std::int64_t rows,
                            Lane& lane) {
  lane.gather(requests);
  const std::int64_t start = monotonic_ns();
  std::string message = lane.run();
  const std::int64_t run_ns = monotonic_ns() - start;
  if (message.empty()) message = lane.uneven_output(rows);
  if (!message.empty()) {
    lane.let_go();
    return message;
  }
  std::int64_t first = 0;
  encoder_.start(*batch.target, lane, rows);
  for (Request* request : requests) {
    encoder_.answer(*request, first);
    first += request->rows;
  }
  if (ran_count_ == ran_.size()) ran_.emplace_back();
  Ran& ran = ran_[ran_count_++];
  ran.target = batch.target;
  ran.lane = &lane;
  ran.queue_ns.clear();
  for (const Request* request : requests) {
    if (request->answer.code == Code::kOk) {
      ran.queue_ns.push_back(request->queue_ns);
    } else {
      observer_.answered(batch.target, request->answer.code, request->unit);
    }
  }
  ran.requests.clear();
  if (batch.target->compared()) ran.requests.assign(requests.begin(), requests.end());
  ran.run_ns = run_ns;
  ran.rows = rows;
  return {};
}

void Worker::fail(const std::shared_ptr<const Target>& target, Request& request, Code code,
                  std::string message) {
  request.answer.code = code;
  request.answer.message = std::move(message);
  observer_.answered(target, code, request.unit);
}

bool Worker::busy(const Lane& lane) const {
  for (std::size_t i = 0; i < ran_count_; ++i) {
    if (ran_[i].lane == &lane) return true;
  }
  return false;
}

void Worker::observe() {
  for (std::size_t i = 0; i < ran_count_; ++i) {
    Ran& ran = ran_[i];
    observer_.ran(ran.target, *ran.lane, ran.requests, ran.queue_ns, ran.run_ns, ran.rows);
    ran.lane->let_go();
    ran.target.reset();
  }
  ran_count_ = 0;
}

Lane& Worker::lane(const std::shared_ptr<Model>& model) {
  std::unique_ptr<Lane>& found = lanes_[model->config().key];
  if (found == nullptr) found = std::make_unique<Lane>(model);
  return *found;
}

void Worker::tidy() {
  std::erase_if(lanes_, [&](const auto& entry) {
    if (entry.second->model()->retired()) observer_.forget(entry.first);
    return entry.second->model()->retired();
  });
  observer_.fold();
}

}  // namespace kedge::engine
