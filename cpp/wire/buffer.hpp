// An owned, growing run of bytes: never zero-filled, grown by realloc so that large ones move by mremap, not
// memcpy.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#include "wire/bytes.hpp"
#include "wire/memory.hpp"

namespace kedge::wire {

class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        capacity_(std::exchange(other.capacity_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    if (this != &other) {
      release(data_);
      data_ = std::exchange(other.data_, nullptr);
      size_ = std::exchange(other.size_, 0);
      capacity_ = std::exchange(other.capacity_, 0);
    }
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { release(data_); }

  [[nodiscard]] const std::uint8_t* data() const { return data_; }
  [[nodiscard]] std::uint8_t* data() { return data_; }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::size_t capacity() const { return capacity_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] Bytes view() const { return {data_, size_}; }

  // Makes room for `capacity` bytes in all. Out of memory ends the process, as `new` would on a path without
  // exceptions.
  void reserve(std::size_t capacity) {
    if (capacity > capacity_) grow(capacity);
  }

  // Lengthens by `count` bytes of undefined content and returns where they start.
  std::uint8_t* extend(std::size_t count) {
    if (count > capacity_ - size_) grow(size_ + count < 2 * capacity_ ? 2 * capacity_ : size_ + count);
    std::uint8_t* start = data_ + size_;
    size_ += count;
    return start;
  }

  void append(Bytes bytes) {
    if (!bytes.empty()) std::memcpy(extend(bytes.size()), bytes.data(), bytes.size());
  }

  void resize(std::size_t size) {
    reserve(size);
    size_ = size;
  }
  // Forgets the content, keeps the memory.
  void clear() { size_ = 0; }
  // Drops the first `count` bytes.
  void drop_front(std::size_t count) {
    if (count == 0) return;
    std::memmove(data_, data_ + count, size_ - count);
    size_ -= count;
  }

 private:
  void grow(std::size_t capacity);

  std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace kedge::wire
