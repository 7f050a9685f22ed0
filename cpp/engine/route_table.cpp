#include "engine/route_table.hpp"

#include <chrono>

namespace kedge::engine {

std::int64_t RoutePointer::now_ns() {
  return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void RoutePointer::await(std::uint64_t generation) {
  if (quiescent(generation)) return;
  waiting_.store(true, std::memory_order_seq_cst);
  while (true) {
    const int told = told_.load(std::memory_order_seq_cst);
    if (quiescent(generation)) break;
    told_.wait(told, std::memory_order_seq_cst);
  }
  waiting_.store(false, std::memory_order_relaxed);
}

std::uint64_t Route::draw(const Picker& picker) const {
  return picker.key.empty() ? picker.random : wire::sticky_hash(salt, picker.key, picker.period(sticky_for));
}

const std::shared_ptr<const Target>& Route::pick(std::uint64_t draw) const {
  return arms.size() == 1 ? arms.front() : arms[wire::pick_arm(draw, thresholds)];
}

Unit Route::unit(const Picker& picker, std::uint64_t draw) const {
  return picker.key.empty() ? own_unit() : units->enter(draw, picker.period(sticky_for));
}

const std::shared_ptr<const Target>* Route::find(std::string_view version) const {
  for (const auto& target : by_version) {
    if (target->model->config().version == version) return &target;
  }
  return nullptr;
}

}  // namespace kedge::engine
