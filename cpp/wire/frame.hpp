// gRPC's length-prefixed messages: 1 byte compressed flag, 4 bytes big-endian length, message.
#pragma once

#include <cstdint>

#include "base/status.hpp"
#include "wire/budget.hpp"
#include "wire/buffer.hpp"

namespace kedge::wire {

inline constexpr std::size_t frame_prefix_bytes = 5;

// Writes the prefix of an uncompressed message of `size` bytes.
inline void write_frame_prefix(std::uint8_t* to, std::size_t size) {
  to[0] = 0;
  to[1] = static_cast<std::uint8_t>(size >> 24);
  to[2] = static_cast<std::uint8_t>(size >> 16);
  to[3] = static_cast<std::uint8_t>(size >> 8);
  to[4] = static_cast<std::uint8_t>(size);
}

// Puts messages together from bytes cut anywhere.
class FrameReader {
 public:
  enum class Step : std::uint8_t {
    more,     // every byte was used, no message is complete
    message,  // one is complete: call `take_message`
    failed,   // `status` says why; feed nothing more
  };

  // Message encoding announced by grpc-encoding.
  void set_gzip(bool gzip) { gzip_ = gzip; }

  // Uses bytes from the front of `bytes` up to the end of one message, and shortens it by them.
  // What is allocated for a message is reserved from `budget` before, as its bytes come; one longer than
  // `max_message`, compressed or inflated, is RESOURCE_EXHAUSTED.
  Step feed(Bytes& bytes, Budget& budget, std::size_t max_message);

  // The complete message, inflated if need be.
  Buffer take_bytes() { return std::move(message_); }
  Reservation take_reservation() { return std::move(reserved_); }
  // In the middle of a prefix or a message.
  [[nodiscard]] bool partial() const { return in_message_ || prefix_used_ > 0; }
  [[nodiscard]] const Status& status() const { return status_; }

 private:
  Step begin_message(std::size_t max_message);
  bool make_room(std::size_t needed, Budget& budget);
  Step end_message(Budget& budget, std::size_t max_message);
  Step fail(Code code, std::string text);

  Buffer message_;
  Reservation reserved_;
  Status status_;
  std::size_t wanted_ = 0;  // declared length of the message under way
  std::size_t room_ = 0;    // of it, what is reserved
  std::uint8_t prefix_[frame_prefix_bytes] = {};
  std::uint8_t prefix_used_ = 0;
  bool in_message_ = false;
  bool compressed_ = false;
  bool gzip_ = false;
};

}  // namespace kedge::wire
