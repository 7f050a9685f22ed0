// What runs on threads of its model: handed over, back with an answer, or too late.
#include <algorithm>

#include "engine/pipeline.hpp"
#include "wire/quote.hpp"

namespace kedge::engine {

void Pipeline::hand_to_pools() {
  for (PoolShare& share : for_pools_) {
    Model& model = *share.target->model;
    for (const Request* request : share.requests) {
      if (request->deadline_ns == 0) continue;
      const auto known = std::find_if(deadlines_.begin(), deadlines_.end(), [&](const Deadline& deadline) {
        return deadline.model.get() == &model;
      });
      if (known == deadlines_.end()) {
        deadlines_.push_back({share.target->model, request->deadline_ns});
      } else {
        known->at_ns = std::min(known->at_ns, request->deadline_ns);
      }
    }
    refused_.clear();
    model.pool->submit(share.target, share.requests, refused_);
    for (const auto& [request, why] : refused_) {
      worker_.observer().answered(share.target, Code::kResourceExhausted, request->unit);
      refuse(request, Code::kResourceExhausted,
             "the queue of model " + wire::quoted(model.config().name) +
                 (why == ExecutorPool::Shed::full ? " is full" : " is too long for the deadline") +
                 "; try again later");
    }
  }
  for_pools_.clear();
}

// What waits for a pool past its deadline is answered now, not when a thread of the pool comes to it.
void Pipeline::expire_waiting() {
  for (Deadline& deadline : deadlines_) {
    if (deadline.at_ns > now_) continue;
    for (const ExecutorPool::Waiting& late :
         deadline.model->pool->take_expired(shard_, now_, deadline.at_ns)) {
      const bool gone = late.request->is_cancelled();
      const Code code = gone ? Code::kCancelled : Code::kDeadlineExceeded;
      worker_.observer().answered(late.target, code, late.request->unit);
      refuse(late.request, code,
             gone ? "cancelled"
                  : "the deadline passed before model " + wire::quoted(deadline.model->config().name) +
                        " could run");
    }
  }
  std::erase_if(deadlines_, [](const Deadline& deadline) { return deadline.at_ns == 0; });
}

void Pipeline::answered(std::span<Request* const> requests) {
  for (Request* request : requests) send(*request);
  resume_streams();
}

void Pipeline::released(std::span<Request* const> requests) {
  for (Request* request : requests) recycle(request);
}

}  // namespace kedge::engine
