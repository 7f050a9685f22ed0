// Liveness and readiness, answered from the route table: they must not wait for the Python runtime.
#pragma once

#include "engine/pipeline.hpp"
#include "net/methods.hpp"

namespace kedge::net {

// What answers the method, framed; or why it cannot be answered.
Result<wire::Buffer> answer_readiness(MethodTag method, wire::Bytes message, const engine::RouteTable* table,
                                      bool leaving);

}  // namespace kedge::net
