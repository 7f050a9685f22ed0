// gzip, inflated under a cap and a budget.
#pragma once

#include "base/status.hpp"
#include "wire/budget.hpp"
#include "wire/buffer.hpp"

namespace kedge::wire {

// The inflated form of one gzip message. Its growth is added to `reserved` from `budget` as it happens.
// RESOURCE_EXHAUSTED past `max_bytes` or the budget; INTERNAL if the stream is damaged, cut or followed by
// more.
Result<Buffer> inflate_gzip(Bytes compressed, std::size_t max_bytes, Budget& budget, Reservation& reserved);

}  // namespace kedge::wire
