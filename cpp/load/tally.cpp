#include "load/tally.hpp"

#include <algorithm>

namespace kedge::load {

namespace {

// A server that invents a version an answer must not fill the memory.
constexpr std::size_t max_origins = 256;
constexpr std::size_t max_origin_bytes = 128;

template <class Counts>
void add_counts(Counts& to, const Counts& from) {
  for (std::size_t at = 0; at < to.size(); ++at) to[at] += from[at];
}

void keep_first(std::string& mine, const std::string& other) {
  if (mine.empty()) mine = other;
}

}  // namespace

std::uint16_t Tally::origin(std::string_view bundle, std::string_view version) {
  bundle = bundle.substr(0, max_origin_bytes);
  version = version.substr(0, max_origin_bytes);
  for (std::size_t at = 0; at < origins.size(); ++at) {
    if (origins[at].bundle == bundle && origins[at].version == version) return static_cast<std::uint16_t>(at);
  }
  if (origins.size() == max_origins) {
    bundle = {};
    version = "(others)";
    if (origins.back().version == version) return static_cast<std::uint16_t>(max_origins - 1);
    origins.back() = {std::string(bundle), std::string(version), origins.back().count};
    return static_cast<std::uint16_t>(max_origins - 1);
  }
  origins.push_back({std::string(bundle), std::string(version), 0});
  return static_cast<std::uint16_t>(origins.size() - 1);
}

void Tally::add(const Tally& other) {
  planned += other.planned;
  sent += other.sent;
  ok += other.ok;
  good += other.good;
  late += other.late;
  waited += other.waited;
  add_counts(statuses, other.statuses);
  add_counts(failures, other.failures);
  for (std::size_t at = 0; at < texts.size(); ++at) keep_first(texts[at], other.texts[at]);
  keep_first(malformed_text, other.malformed_text);
  keep_first(broken_text, other.broken_text);
  latency.add(other.latency);
  service.add(other.service);
  other_latency.add(other.other_latency);
  other_service.add(other.other_service);
  lag.add(other.lag);
  for (const Origin& each : other.origins) origins[origin(each.bundle, each.version)].count += each.count;
  if (intervals.size() < other.intervals.size()) intervals.resize(other.intervals.size());
  for (std::size_t at = 0; at < other.intervals.size(); ++at) {
    Interval& mine = intervals[at];
    const Interval& theirs = other.intervals[at];
    mine.planned += theirs.planned;
    mine.sent += theirs.sent;
    mine.ok += theirs.ok;
    mine.shed += theirs.shed;
    mine.failed += theirs.failed;
    mine.latency.add(theirs.latency);
  }
  bytes_in += other.bytes_in;
  bytes_out += other.bytes_out;
  reconnects += other.reconnects;
  cpu_ns += other.cpu_ns;
  ended_ns = std::max(ended_ns, other.ended_ns);
  lost = lost || other.lost;
}

}  // namespace kedge::load
