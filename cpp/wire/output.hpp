// Bytes on their way to the socket (or to TLS): small pieces gathered in blocks, large bodies by reference.
#pragma once

#include <sys/uio.h>

#include <deque>
#include <memory>
#include <utility>

#include "wire/buffer.hpp"

namespace kedge::wire {

class Output {
 public:
  void append(Bytes bytes);
  // Sends `bytes`, a part of `owner`, without copying; `owner` is kept until they are consumed.
  void append_shared(std::shared_ptr<const Buffer> owner, Bytes bytes);

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  // Fills up to `count` iovecs from the front, for writev; returns how many.
  std::size_t gather(iovec* vectors, std::size_t count) const;
  // The first contiguous run; empty only when there is nothing.
  [[nodiscard]] Bytes front() const;
  // Drops `count` bytes from the front: what the socket took.
  void consume(std::size_t count);
  // Frees the memory kept for what comes next, unless it was needed since the last call.
  void trim();

 private:
  struct Block {
    Buffer own;  // used when `shared` is null
    std::shared_ptr<const Buffer> shared;
    Bytes part;  // of `shared`
    [[nodiscard]] Bytes view() const { return shared ? part : own.view(); }
  };

  std::deque<Block> blocks_;
  Buffer spare_;            // the last emptied block's memory, so that a steady flow allocates nothing
  bool needed_ = false;     // since the last `trim`
  std::size_t offset_ = 0;  // consumed bytes of the first block
  std::size_t size_ = 0;
};

}  // namespace kedge::wire
