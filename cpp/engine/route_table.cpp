#include "engine/route_table.hpp"

namespace kedge::engine {

const std::shared_ptr<const Target>& Route::pick(const Picker& picker) const {
  if (arms.size() == 1) return arms.front();
  const std::uint64_t draw =
      picker.key.empty()
          ? picker.random
          : wire::sticky_hash(salt, picker.key, static_cast<std::uint64_t>(picker.unix_seconds / sticky_for));
  return arms[wire::pick_arm(draw, thresholds)];
}

const std::shared_ptr<const Target>* Route::find(std::string_view version) const {
  for (const auto& target : by_version) {
    if (target->model->config().version == version) return &target;
  }
  return nullptr;
}

}  // namespace kedge::engine
