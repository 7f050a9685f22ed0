// Whether a decoded request is one its model can take.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/request.hpp"

namespace kedge::engine {

inline constexpr std::int64_t kMaxRows = std::int64_t{1}
                                         << 20;  // rows that cost a client bytes and the model gigabytes

// A violation as the sketch counts it.
enum class SchemaFault : std::uint8_t { none, missing, mistyped, misshaped, unknown };

struct Refusal {
  Status status;
  SchemaFault fault = SchemaFault::none;
  std::string_view tensor;  // name of the tensor at fault; a view into the request or the model
};

// Puts the request's inputs and outputs in the model's order and counts its rows, or says what of it does not
// fit.
// `sealing`: the server can seal predictions.
Refusal fit(Request& request, const Model& model, bool sealing);

}  // namespace kedge::engine
