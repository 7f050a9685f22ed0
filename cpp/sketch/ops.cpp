#include "sketch/ops.hpp"

#include <array>
#include <string_view>

namespace kedge::sketch {

namespace baseline {
extern const Ops kOps;
}
#if defined(__x86_64__)
namespace avx2 {
extern const Ops kOps;
}
namespace avx512 {
extern const Ops kOps;
}
#endif

namespace {

struct Detected {
  std::array<const Ops*, 3> ops{};
  std::size_t count = 0;
};

Detected detect() {
  Detected found;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw")) {
    found.ops[found.count++] = &avx512::kOps;
  }
  if (__builtin_cpu_supports("avx2")) found.ops[found.count++] = &avx2::kOps;
#endif
  found.ops[found.count++] = &baseline::kOps;
  return found;
}

}  // namespace

std::span<const Ops* const> available_ops() {
  static const Detected found = detect();
  return {found.ops.data(), found.count};
}

const Ops* find_ops(const char* isa) {
  for (const Ops* ops : available_ops()) {
    if (std::string_view(ops->isa) == isa) return ops;
  }
  return nullptr;
}

}  // namespace kedge::sketch
