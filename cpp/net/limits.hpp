// Bounds of sockets and turns.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kedge::net {

// A turn: how long other connections wait for one that is busy.
inline constexpr std::size_t kReadBytes = std::size_t{64} * 1024;
inline constexpr std::size_t kTurnRequests = 256;
inline constexpr std::int64_t kTurnNs = 250'000;
inline constexpr std::size_t kEventsPerTurn = 256;
inline constexpr std::size_t kWriteVectors = 64;

// A client that connects and says nothing, or greets one byte a second; one that was told that it is over,
// and does not read that.
inline constexpr std::int64_t kGreetingNs = 10'000'000'000;
// A connection nobody uses.
inline constexpr std::int64_t kIdleNs = std::int64_t{2} * 60 * 60 * 1'000'000'000;
// A client whose machine or network is gone, with calls open: TCP asks after so much silence, so often.
inline constexpr int kProbeAfterSeconds = 180;
inline constexpr int kProbeEverySeconds = 30;
inline constexpr int kProbes = 6;
// Bytes held for a client that does not read, after which nothing more is read from it.
inline constexpr std::size_t kBlockedReadBytes = std::size_t{8} * 1024 * 1024;

inline constexpr std::int64_t kTickNs = 1'000'000'000;
inline constexpr std::int64_t kDrainTickNs = 20'000'000;
inline constexpr int kListenBacklog = 1024;

}  // namespace kedge::net
