// From a run's outputs to one request's answer.
#pragma once

#include <span>

#include "engine/request.hpp"

namespace kedge::engine {

// Encodes rows [first, first + request.rows) of the outputs of a run of `batch_rows` rows; all of them where
// the model is not batchable.
void encode_answer(Request& request, const Target& target, std::span<const TensorView> outputs,
                   std::int64_t first, std::int64_t batch_rows);

}  // namespace kedge::engine
