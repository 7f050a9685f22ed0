#include "wire/buffer.hpp"

#include <algorithm>
#include <cstdlib>

namespace kedge::wire {

void Buffer::grow(std::size_t capacity) {
  constexpr std::size_t least = 64;
  capacity = std::max(capacity, least);
  void* moved = reallocate(data_, capacity);
  if (moved == nullptr) std::abort();
  data_ = static_cast<std::uint8_t*>(moved);
  capacity_ = capacity;
}

}  // namespace kedge::wire
