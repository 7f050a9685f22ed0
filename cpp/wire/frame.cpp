#include "wire/frame.hpp"

#include <algorithm>

#include "base/limits.hpp"
#include "wire/inflate.hpp"

namespace kedge::wire {

FrameReader::Step FrameReader::feed(Bytes& bytes, Budget& budget, std::size_t max_message) {
  if (!status_.ok()) return Step::failed;
  if (!in_message_) {
    while (prefix_used_ < frame_prefix_bytes) {
      if (bytes.empty()) return Step::more;
      prefix_[prefix_used_++] = bytes.front();
      bytes = bytes.subspan(1);
    }
    if (begin_message(max_message) == Step::failed) return Step::failed;
  }
  const std::size_t count = std::min(bytes.size(), wanted_ - message_.size());
  if (!make_room(message_.size() + count, budget)) {
    return fail(Code::kResourceExhausted,
                "too many message bytes in flight; try again later or on another connection");
  }
  message_.append(bytes.first(count));
  bytes = bytes.subspan(count);
  if (message_.size() < wanted_) return Step::more;
  return end_message(budget, max_message);
}

FrameReader::Step FrameReader::begin_message(std::size_t max_message) {
  prefix_used_ = 0;
  if (prefix_[0] > 1) return fail(Code::kInternal, "compressed flag of a message is neither 0 nor 1");
  compressed_ = prefix_[0] == 1;
  if (compressed_ && !gzip_) {
    return fail(Code::kInternal, "compressed message, but grpc-encoding names no compression");
  }
  wanted_ = std::size_t{prefix_[1]} << 24 | std::size_t{prefix_[2]} << 16 | std::size_t{prefix_[3]} << 8 |
            prefix_[4];
  if (wanted_ > max_message) {
    return fail(Code::kResourceExhausted, "message larger than max (" + std::to_string(wanted_) + " vs. " +
                                              std::to_string(max_message) + " bytes)");
  }
  room_ = 0;
  in_message_ = true;
  return Step::more;
}

// Room for `needed` bytes of the message; at first for what is here, or a little, then twice as much each
// time.
bool FrameReader::make_room(std::size_t needed, Budget& budget) {
  if (room_ != 0 && needed <= room_) return true;
  const std::size_t room =
      std::min(wanted_, std::max({needed, 2 * room_, limits::first_message_allocation_bytes}));
  const std::size_t overhead = room_ == 0 ? limits::message_overhead_bytes : 0;
  if (!reserved_.add(budget, room - room_ + overhead)) return false;
  message_.reserve(room);
  room_ = room;
  return true;
}

FrameReader::Step FrameReader::end_message(Budget& budget, std::size_t max_message) {
  in_message_ = false;
  if (!compressed_) return Step::message;
  Result<Buffer> inflated = inflate_gzip(message_.view(), max_message, budget, reserved_);
  if (!inflated.ok()) return fail(inflated.status().code(), inflated.status().message());
  message_ = std::move(inflated).value();
  reserved_.shrink(message_.size() + limits::message_overhead_bytes);
  return Step::message;
}

FrameReader::Step FrameReader::fail(Code code, std::string text) {
  status_ = Status(code, std::move(text));
  message_ = Buffer();
  reserved_.release();
  in_message_ = false;
  return Step::failed;
}

}  // namespace kedge::wire
