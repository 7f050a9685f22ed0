// What a run is to do.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "load/arrivals.hpp"
#include "load/target.hpp"

namespace kedge::load {

struct Options {
  Target target;
  std::vector<std::string> messages;  // serialised ModelInferRequests without an id, sent in turn
  double rate = 0;                    // a second; 0: a closed loop of `closed`
  std::uint32_t closed = 0;           // outstanding at a time
  Pattern pattern = Pattern::poisson;
  std::uint64_t seed = 0;
  std::int64_t duration_ns = 0;
  std::uint64_t requests = 0;  // at most; 0: as many as the time gives
  std::uint32_t connections = 1;
  std::uint32_t streams = 256;   // outstanding on a connection
  std::int64_t deadline_ns = 0;  // 0: none
  std::int64_t grace_ns = 0;     // to wait for answers once the last request was planned
  std::uint32_t threads = 1;     // at most one a connection
  double sample_share = 0;       // of OK answers whose prediction id is handed out
};

// Later than this after its time, a request counts as sent late by the generator's own fault.
inline constexpr std::int64_t late_after_ns = 1'000'000;

}  // namespace kedge::load
