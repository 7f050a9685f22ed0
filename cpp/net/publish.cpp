// How a route table is made of what the control plane says, and takes the place of the one before.
#include "net/server.hpp"

namespace kedge::net {

std::shared_ptr<engine::Target> Server::target(std::uint64_t key, engine::Arm arm, std::uint64_t epoch) {
  const std::shared_ptr<Loaded> loaded = find(key);
  auto made = std::make_shared<engine::Target>();
  made->model = loaded->model;
  made->arm = arm;
  made->epoch = epoch;
  made->id = next_target_++;
  const std::lock_guard lock(mutex_);
  if (arm != engine::Arm::shadow) loaded->routed = true;  // who asks a shadow by name is still too early
  return made;
}

std::shared_ptr<engine::Shadow> Server::shadow(std::uint64_t key) {
  const std::shared_ptr<Loaded> loaded = find(key);
  const std::lock_guard lock(mutex_);
  if (loaded->shadow == nullptr) loaded->shadow = std::make_shared<engine::Shadow>(loaded->model);
  return loaded->shadow;
}

engine::Route Server::build_route(const RouteSpec& spec, engine::RouteTable& table) {
  engine::Route route;
  route.model = spec.model;
  route.epoch = spec.epoch;
  route.sticky_for = spec.sticky_for;
  route.salt = wire::sticky_key(wire::as_bytes(spec.salt));
  // Units that were counted stay counted for as long as the rollout lasts, whatever changes in it.
  const engine::Route* before = table_ == nullptr ? nullptr : table_->find(spec.model);
  if (before != nullptr && before->salt == route.salt) route.units = before->units;
  if (route.units == nullptr && spec.arms.size() > 1) {
    route.units = std::make_shared<engine::UnitFilter>();
  }
  std::shared_ptr<const engine::Target> beside;
  if (spec.shadow.has_value()) beside = target(spec.shadow->key, engine::Arm::shadow, spec.epoch);

  const auto add = [&](std::shared_ptr<engine::Target> made) {
    made->index = static_cast<std::uint32_t>(table.targets.size());
    table.targets.push_back(made);
    return made;
  };
  double cumulative = 0;
  for (const RouteSpec::ArmSpec& arm : spec.arms) {
    cumulative += arm.share;
    std::shared_ptr<engine::Target> made = target(arm.key, arm.arm, spec.epoch);
    made->slow_ns = spec.slow_ns;
    if (spec.arms.size() > 1) made->units = route.units;
    if (beside != nullptr && (arm.arm == engine::Arm::live || arm.arm == engine::Arm::control)) {
      made->shadow = std::make_shared<const engine::ShadowRoute>(next_target_++, shadow(spec.shadow->key),
                                                                 beside, spec.shadow->sample, *made->model);
    }
    route.arms.push_back(add(std::move(made)));
    route.thresholds.push_back(wire::share_threshold(cumulative));
  }
  std::set<std::uint64_t> listed;
  const auto by_version = [&](std::uint64_t key) {
    if (listed.insert(key).second)
      route.by_version.push_back(add(target(key, engine::Arm::pinned, spec.epoch)));
  };
  for (const RouteSpec::ArmSpec& arm : spec.arms) by_version(arm.key);
  for (const std::uint64_t key : spec.pinned) by_version(key);
  return route;
}

std::unique_ptr<engine::RouteTable> Server::build(const std::vector<RouteSpec>& routes) {
  auto table = std::make_unique<engine::RouteTable>();
  for (const RouteSpec& spec : routes) table->routes.emplace(spec.model, build_route(spec, *table));
  return table;
}

std::int64_t Server::publish(const std::vector<RouteSpec>& routes) {
  const std::lock_guard publishing(publish_mutex_);
  std::unique_ptr<engine::RouteTable> table = build(routes);
  table->generation = ++generation_;
  std::set<std::shared_ptr<engine::Shadow>> shadows;
  for (const auto& target : table->targets) {
    if (target->shadow != nullptr) shadows.insert(target->shadow->shadow);
  }
  for (const auto& shadow : shadows) shadow->open();
  const std::int64_t start = engine::RoutePointer::now_ns();
  pointer_.store(table.get());
  pointer_.await(generation_);  // a turn is over within 250 us
  const std::int64_t taken = std::max<std::int64_t>(pointer_.last_pick_ns(generation_) - start, 0);
  table_ =
      std::move(table);  // nobody picks from the old one any more; its targets live as long as their requests
  shadows_.swap(shadows);
  for (const auto& shadow : shadows) {
    if (!shadows_.contains(shadow)) shadow->close();
  }
  for (const auto& shard : shards_) {
    shard->post_unhurried([&shard] { shard->pipeline().tidy(); });
    if (shard->sleeps_until_due()) shard->wake();  // perhaps with a batch, for which no company can come now
  }
  return taken;
}

}  // namespace kedge::net
