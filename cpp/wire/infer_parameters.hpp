// Request parameters: which are honoured, which are accepted without effect, which are refused.
// The Python twin is kedge/plane/portable/parameters.py.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <variant>

#include "wire/infer_request.hpp"

namespace kedge::wire {

// InferParameter's choice; monostate: no value was given.
using ParameterValue =
    std::variant<std::monostate, bool, std::int64_t, std::string_view, double, std::uint64_t>;

// One entry of a parameters map; views into the message.
struct ParameterView {
  std::string_view name;
  ParameterValue value;
};

// Reads a map entry; none if it is malformed.
std::optional<ParameterView> read_parameter(Bytes entry);

// Reads a request's parameter and notes what it asks for. INVALID_ARGUMENT, naming it.
Status apply_parameter(Bytes entry, InferRequest& request);

// A sticky key no longer than can be hashed on the request path; `place` names it in the error.
Status check_key(std::string_view key, std::string_view place);

}  // namespace kedge::wire
