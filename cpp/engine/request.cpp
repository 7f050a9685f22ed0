#include "engine/request.hpp"

#include <algorithm>

#include "base/limits.hpp"
#include "engine/infer_stream.hpp"

namespace kedge::engine {

bool Request::is_cancelled() const {
  return cancelled.load(std::memory_order_relaxed) ||
         (stream != nullptr && stream->cancelled.load(std::memory_order_relaxed));
}

void Request::reset() {
  peer = nullptr;
  call = nullptr;
  stream = nullptr;
  sequence = 0;
  message = {};
  if (infer.inputs.capacity() + infer.outputs.capacity() + infer.raw_contents.capacity() >
      limits::spare_request_tensors) {
    infer = {};
    inputs = {};
    outputs = {};
  } else {
    infer.clear();
    inputs.clear();
    outputs.clear();
  }
  rows = 0;
  key_bits = 0;
  row_bits = 0;
  received_ns = 0;
  deadline_ns = 0;
  unit = {};
  cancelled.store(false, std::memory_order_relaxed);
  answer = {};
  queue_ns = 0;
}

bool joins(const Request& first, const Request& request) {
  for (std::size_t i = 0; i < first.inputs.size(); ++i) {
    const auto a = first.inputs[i]->shape.dims();
    const auto b = request.inputs[i]->shape.dims();
    if (!std::equal(a.begin() + 1, a.end(), b.begin() + 1, b.end())) return false;
  }
  return true;
}

}  // namespace kedge::engine
