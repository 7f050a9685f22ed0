// Memory of what comes and goes with every request: streams, headers, messages, frames. A thread that uses a
// `Memory` keeps small blocks it frees, by size, and takes them again, so that a steady flow asks the
// system's allocator for nothing; its own cache of seven blocks a size is far fewer than the requests of one
// turn.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace kedge::wire {

// Blocks as of malloc, realloc and free, aligned to 16 bytes; null when there is no memory. Any thread may
// free what another one allocated: the block then stays with the thread that freed it.
void* allocate(std::size_t bytes);
void* reallocate(void* block, std::size_t bytes);
void release(void* block);

// Free blocks of one thread. What it keeps is bounded by `limits::max_spare_bytes`.
class Memory {
 public:
  explicit Memory(bool keeps = unsanitized()) : keeps_(keeps) {}
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  // While it lives, the calling thread keeps blocks in `memory`. Every other thread uses malloc.
  class Use {
   public:
    explicit Use(Memory& memory);
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
  };

  // Returns to the system the blocks that nobody needed since the last call.
  void trim();
  [[nodiscard]] std::size_t spare_bytes() const { return spare_bytes_; }

 private:
  friend void* allocate(std::size_t bytes);
  friend void* reallocate(void* block, std::size_t bytes);
  friend void release(void* block);

  struct Spare {
    Spare* next;
  };
  struct Class {
    Spare* first = nullptr;
    std::size_t count = 0;
    std::size_t unused = 0;  // the fewest there were since the last `trim`
  };
  static constexpr std::size_t step = 64;
  static constexpr std::size_t classes = 32;  // up to 2 KB; larger blocks are the system's

  void* take(std::size_t index);
  bool keep(void* base, std::size_t index);
  static void* pop(Class& from);
  static bool unsanitized();

  const bool keeps_;
  std::array<Class, classes> classes_;
  std::size_t spare_bytes_ = 0;
};

}  // namespace kedge::wire
