// A program of its own: it replaces operator new, which the sanitizers do too.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cstdlib>
#include <new>

#include "mixed_layout.hpp"

namespace {
std::size_t allocations = 0;
}

[[gnu::noinline]] void* operator new(std::size_t size) {
  ++allocations;
  if (void* const memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace kedge::sketch::test {

TEST_CASE("the update path allocates nothing once it is warm") {
  for (const Ops* ops : available_ops()) {
    const auto sketch = make(mixed_layout(), *ops);
    observe_all(*sketch);
    const std::size_t before = allocations;
    REQUIRE(before > 0);
    observe_all(*sketch);
    CHECK(allocations == before);
  }
}

}  // namespace kedge::sketch::test
