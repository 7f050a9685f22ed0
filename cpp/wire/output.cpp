#include "wire/output.hpp"

#include <algorithm>

namespace kedge::wire {

namespace {
// One block takes many frames; above this a new one begins, so that growing never moves much.
constexpr std::size_t block_bytes = 64 * 1024;
}  // namespace

void Output::append(Bytes bytes) {
  if (bytes.empty()) return;
  if (blocks_.empty() || blocks_.back().shared || blocks_.back().own.size() + bytes.size() > block_bytes) {
    blocks_.emplace_back().own = std::move(spare_);
  }
  blocks_.back().own.append(bytes);
  size_ += bytes.size();
}

void Output::append_shared(std::shared_ptr<const Buffer> owner, Bytes bytes) {
  if (bytes.empty()) return;
  Block& block = blocks_.emplace_back();
  block.shared = std::move(owner);
  block.part = bytes;
  size_ += bytes.size();
}

std::size_t Output::gather(iovec* vectors, std::size_t count) const {
  std::size_t used = 0;
  for (const Block& block : blocks_) {
    if (used == count) break;
    Bytes view = block.view();
    if (used == 0) view = view.subspan(offset_);
    // iovec has no const form; writev only reads.
    vectors[used++] = {const_cast<std::uint8_t*>(view.data()), view.size()};
  }
  return used;
}

Bytes Output::front() const {
  if (blocks_.empty()) return {};
  return blocks_.front().view().subspan(offset_);
}

void Output::consume(std::size_t count) {
  count = std::min(count, size_);
  size_ -= count;
  while (count > 0) {
    Block& block = blocks_.front();
    const std::size_t left = block.view().size() - offset_;
    if (count < left) {
      offset_ += count;
      return;
    }
    count -= left;
    offset_ = 0;
    if (!block.shared && block.own.capacity() <= 2 * block_bytes) {
      spare_ = std::move(block.own);
      spare_.clear();
      needed_ = true;
    }
    blocks_.pop_front();
  }
}

void Output::trim() {
  if (!std::exchange(needed_, false)) spare_ = Buffer();
}

}  // namespace kedge::wire
