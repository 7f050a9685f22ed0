// Events of calls that are answered outside the plane, on their way to the one thread that answers them.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace kedge::net {

enum class ColdKind : std::uint8_t {
  open,
  message,
  half_close,
  cancel,
  log,  // not of a call: a line for the log, in `payload`; `method` says from whom
};

struct ColdEvent {
  std::uint64_t call = 0;
  ColdKind kind = ColdKind::open;
  std::string method;
  std::vector<std::pair<std::string, std::string>> metadata;
  std::string payload;
};

// Many writers, one reader.
class ColdQueue {
 public:
  static constexpr std::size_t kMaxWaiting = 1024;                          // metadata requests in a loop
  static constexpr std::size_t kMaxBytes = std::size_t{128} * 1024 * 1024;  // the same with large messages

  // Adds an event; false if there is no room. Ends of calls always fit: there are no more of them than open
  // calls.
  bool push(ColdEvent event);
  // The next event; none when the queue was closed and is empty.
  std::optional<ColdEvent> pop();
  void close();

 private:
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<ColdEvent> events_;
  std::size_t bytes_ = 0;  // of their payloads
  bool closed_ = false;
};

}  // namespace kedge::net
