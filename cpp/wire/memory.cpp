#include "wire/memory.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/limits.hpp"

#if defined(__SANITIZE_ADDRESS__)
#define KEDGE_ADDRESS_SANITIZER
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KEDGE_ADDRESS_SANITIZER
#endif
#endif
#ifdef KEDGE_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#endif

namespace kedge::wire {
namespace {

// Before each block: which size it has. Out of bounds for everyone else.
constexpr std::size_t head_bytes = 16;
constexpr std::uint64_t large = ~std::uint64_t{0};

// Read at each allocation; this model needs no call to find it.
[[gnu::tls_model("initial-exec")]] thread_local Memory* current = nullptr;

void* begin(void* base, std::uint64_t index) {
  if (base == nullptr) return nullptr;
  std::memcpy(base, &index, sizeof index);
#ifdef KEDGE_ADDRESS_SANITIZER
  ASAN_POISON_MEMORY_REGION(base, head_bytes);
#endif
  return static_cast<std::uint8_t*>(base) + head_bytes;
}

void* base_of(void* block) {
  void* const base = static_cast<std::uint8_t*>(block) - head_bytes;
#ifdef KEDGE_ADDRESS_SANITIZER
  ASAN_UNPOISON_MEMORY_REGION(base, head_bytes);
#endif
  return base;
}

std::uint64_t index_of(const void* base) {
  std::uint64_t index = 0;
  std::memcpy(&index, base, sizeof index);
  return index;
}

}  // namespace

void* allocate(std::size_t bytes) {
  if (bytes > Memory::classes * Memory::step - head_bytes)
    return bytes > SIZE_MAX - head_bytes ? nullptr : begin(std::malloc(bytes + head_bytes), large);
  const std::size_t index = (bytes + head_bytes - 1) / Memory::step;
  void* const base = current == nullptr ? nullptr : current->take(index);
  return begin(base != nullptr ? base : std::malloc((index + 1) * Memory::step), index);
}

void release(void* block) {
  if (block == nullptr) return;
  void* const base = base_of(block);
  const std::uint64_t index = index_of(base);
  if (index == large || current == nullptr || !current->keep(base, index)) std::free(base);
}

void* reallocate(void* block, std::size_t bytes) {
  if (block == nullptr) return allocate(bytes);
  void* const base = base_of(block);
  const std::uint64_t index = index_of(base);
  if (index == large)
    return bytes > SIZE_MAX - head_bytes ? nullptr : begin(std::realloc(base, bytes + head_bytes), large);
  const std::size_t room = (index + 1) * Memory::step - head_bytes;
  if (bytes <= room) return begin(base, index);
  void* const moved = allocate(bytes);
  if (moved == nullptr) return nullptr;
  std::memcpy(moved, block, room);
  release(block);
  return moved;
}

Memory::Use::Use(Memory& memory) { current = &memory; }

Memory::Use::~Use() { current = nullptr; }

// A sanitizer must see each block come and go: a kept one would hide a use after it was freed, or by two
// threads.
bool Memory::unsanitized() {
#if defined(KEDGE_ADDRESS_SANITIZER) || defined(__SANITIZE_THREAD__)
  return false;
#elif defined(__has_feature)
  return !__has_feature(thread_sanitizer);
#else
  return true;
#endif
}

Memory::~Memory() {
  for (Class& all : classes_) {
    while (all.count != 0) std::free(pop(all));
  }
}

void* Memory::pop(Class& from) {
  Spare* const first = from.first;
  from.first = first->next;
  --from.count;
  return first;
}

void* Memory::take(std::size_t index) {
  Class& from = classes_[index];
  if (from.count == 0) return nullptr;
  void* const base = pop(from);
  from.unused = std::min(from.unused, from.count);
  spare_bytes_ -= (index + 1) * step;
  return base;
}

bool Memory::keep(void* base, std::size_t index) {
  const std::size_t bytes = (index + 1) * step;
  if (!keeps_ || spare_bytes_ + bytes > limits::max_spare_bytes) return false;
  Class& to = classes_[index];
  to.first = new (base) Spare{to.first};
  ++to.count;
  spare_bytes_ += bytes;
  return true;
}

void Memory::trim() {
  for (std::size_t index = 0; index < classes; ++index) {
    Class& all = classes_[index];
    spare_bytes_ -= all.unused * (index + 1) * step;
    for (; all.unused != 0; --all.unused) std::free(pop(all));
    all.unused = all.count;
  }
}

}  // namespace kedge::wire
