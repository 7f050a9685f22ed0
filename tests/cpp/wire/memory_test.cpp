#include "wire/memory.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#include "base/limits.hpp"

using namespace kedge::wire;

namespace {

std::vector<void*> blocks(std::size_t count, std::size_t bytes) {
  std::vector<void*> made;
  for (std::size_t i = 0; i < count; ++i) made.push_back(allocate(bytes));
  return made;
}

void release_all(const std::vector<void*>& all) {
  for (void* block : all) release(block);
}

}  // namespace

TEST_CASE("a block that was freed is given out again, for as many bytes or fewer of its class") {
  Memory memory(true);
  const Memory::Use use(memory);
  void* const block = allocate(100);
  CHECK(memory.spare_bytes() == 0);
  release(block);
  CHECK(memory.spare_bytes() == 128);
  CHECK(allocate(50) == block);
  CHECK(memory.spare_bytes() == 0);
  release(block);
}

TEST_CASE("blocks are aligned as malloc aligns them, and theirs to the last byte") {
  Memory memory(true);
  const Memory::Use use(memory);
  for (std::size_t bytes = 0; bytes < 5000; bytes += 7) {
    void* const block = allocate(bytes);
    CHECK(reinterpret_cast<std::uintptr_t>(block) % 16 == 0);
    std::memset(block, 0xA5, bytes);
    release(block);
  }
}

TEST_CASE("a block that grows keeps its content, within its class, to another one and past the last") {
  Memory memory(true);
  const Memory::Use use(memory);
  auto* block = static_cast<char*>(reallocate(nullptr, 6));
  std::memcpy(block, "kedge", 6);
  CHECK(reallocate(block, 40) == block);
  for (const std::size_t bytes : {200UL, 3000UL, 100'000UL, 50UL}) {
    block = static_cast<char*>(reallocate(block, bytes));
    CHECK(std::strcmp(block, "kedge") == 0);
  }
  release(block);
}

TEST_CASE("what nobody needed between two trims goes back to the system, and no more than that") {
  Memory memory(true);
  const Memory::Use use(memory);
  release_all(blocks(100, 40));
  memory.trim();  // all were needed since the start
  CHECK(memory.spare_bytes() == 100 * 64);
  release_all(blocks(30, 40));
  memory.trim();
  CHECK(memory.spare_bytes() == 30 * 64);
  memory.trim();
  CHECK(memory.spare_bytes() == 0);
}

TEST_CASE("what is kept is bounded") {
  Memory memory(true);
  const Memory::Use use(memory);
  release_all(blocks(2 * kedge::limits::max_spare_bytes / 1024, 1000));
  CHECK(memory.spare_bytes() == kedge::limits::max_spare_bytes);
}

TEST_CASE("large blocks are the system's") {
  Memory memory(true);
  const Memory::Use use(memory);
  release(allocate(4000));
  CHECK(memory.spare_bytes() == 0);
  CHECK(allocate(SIZE_MAX) == nullptr);
  CHECK(allocate(SIZE_MAX - 15) == nullptr);
  auto* const block = static_cast<char*>(allocate(4000));
  CHECK(reallocate(block, SIZE_MAX) == nullptr);
  block[3999] = 'k';  // still whole
  release(block);
}

TEST_CASE("a thread may free what another one allocated, and keeps it if it keeps blocks") {
  Memory memory(true);
  std::vector<void*> made;
  std::thread([&] { made = blocks(10, 40); }).join();
  {
    const Memory::Use use(memory);
    release_all(made);
    CHECK(memory.spare_bytes() == 10 * 64);
    made = blocks(10, 40);
  }
  std::thread([&] { release_all(made); }).join();
  CHECK(memory.spare_bytes() == 0);
}

TEST_CASE("under a sanitizer nothing is kept unless a test says so") {
  Memory memory(false);
  const Memory::Use use(memory);
  release_all(blocks(10, 40));
  CHECK(memory.spare_bytes() == 0);
}
