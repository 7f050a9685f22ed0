// The elements of an input: counted, measured and range-checked where they lie.
#pragma once

#include "wire/infer_request.hpp"

namespace kedge::wire {

// Sets `input.elements` from its shape and checks the data against it: `input.raw` if `in_place`, else
// `input.contents`, whose elements become `raw` and `in_place` where they already lie as raw ones would.
Status check_elements(InputView& input, const InferRequest& request);

}  // namespace kedge::wire
