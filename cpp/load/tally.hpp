// What a run counted. One a thread, added up at the end.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "load/histogram.hpp"

namespace kedge::load {

// Why a planned request has no grpc-status.
enum class Failure : std::uint8_t {
  malformed,   // an answer that is not gRPC, is not whole, or is another request's
  reset,       // the server reset the stream
  refused,     // the server refused the stream, or went away before it looked at it
  connection,  // the connection broke while it waited
  unanswered,  // nothing until the end of the grace
  expired,     // never sent: its deadline passed while it waited for a stream
  unsent,      // never sent: no stream was free until the end, or too many waited
};
inline constexpr std::size_t failure_kinds = 7;
inline constexpr std::size_t status_codes = 17;  // gRPC's 0 to 16

// A bundle and version that answered.
struct Origin {
  std::string bundle;
  std::string version;
  std::uint64_t count = 0;
};

// A stretch of the run, by when things happened.
struct Interval {
  std::uint64_t planned = 0;
  std::uint64_t sent = 0;
  std::uint64_t ok = 0;
  std::uint64_t shed = 0;    // RESOURCE_EXHAUSTED
  std::uint64_t failed = 0;  // all else
  Histogram latency{5};      // of the OK ones, from the intended time; cells of 3 %
};

// A prediction id that came back, and which message it answers.
struct Sample {
  std::string prediction_id;
  std::uint32_t message = 0;
};

struct Tally {
  std::uint64_t planned = 0;
  std::uint64_t sent = 0;
  std::uint64_t ok = 0;
  std::uint64_t good = 0;    // OK within the deadline, from the intended time
  std::uint64_t late = 0;    // taken up `late_after_ns` or more after their time
  std::uint64_t waited = 0;  // found no free stream when they were due
  std::array<std::uint64_t, status_codes> statuses{};
  std::array<std::uint64_t, failure_kinds> failures{};
  std::array<std::string, status_codes> texts{};  // the first grpc-message of each
  std::string malformed_text;                     // what was wrong with the first
  std::string broken_text;                        // why the first connection broke
  Histogram latency;                              // OK: intended time to answer
  Histogram service;                              // OK: sent to answer
  Histogram other_latency;                        // another status: intended time to answer
  Histogram other_service;                        // another status: sent to answer
  Histogram lag;                                  // intended time until the generator took it up
  std::vector<Origin> origins;
  std::vector<Interval> intervals;
  std::uint64_t bytes_in = 0;
  std::uint64_t bytes_out = 0;
  std::uint64_t reconnects = 0;
  std::int64_t cpu_ns = 0;    // of the thread
  std::int64_t ended_ns = 0;  // from the start until the last answer, or until it gave up
  bool lost = false;          // a thread gave up all of its connections before the end

  void add(const Tally& other);
  // The place of an origin in `origins`, added if it is new; the last one stands for all once there are too
  // many.
  std::uint16_t origin(std::string_view bundle, std::string_view version);
};

}  // namespace kedge::load
