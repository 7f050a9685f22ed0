// What a load generator wants of a ModelInferResponse: who answered, and to what.
#pragma once

#include <string_view>

#include "wire/bytes.hpp"

namespace kedge::load {

// Views into the message.
struct Answer {
  std::string_view version;        // model_version
  std::string_view id;             // of the request
  std::string_view bundle;         // parameter kedge_bundle; empty from other servers
  std::string_view prediction_id;  // parameter kedge_prediction_id; empty from other servers
};

// False where the bytes are no such message.
bool decode(wire::Bytes message, Answer& out);

}  // namespace kedge::load
