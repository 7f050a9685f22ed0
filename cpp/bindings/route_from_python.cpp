#include "bindings/route_from_python.hpp"

#include <algorithm>

#include "bindings/model_from_python.hpp"

namespace py = pybind11;

namespace kedge::bindings {

net::RouteSpec route_from_python(const py::dict& given) {
  net::RouteSpec route;
  route.model = item<std::string>(given, "model");
  route.epoch = item<std::uint64_t>(given, "epoch");
  for (const py::handle each : given["arms"]) {
    const auto arm = py::reinterpret_borrow<py::tuple>(each);
    route.arms.push_back(
        {arm[0].cast<std::uint64_t>(), static_cast<engine::Arm>(arm[1].cast<int>()), arm[2].cast<double>()});
  }
  route.pinned = item<std::vector<std::uint64_t>>(given, "pinned");
  route.salt = item<std::string>(given, "salt");
  route.sticky_for = item<std::int64_t>(given, "sticky_for");
  if (const auto shadow = given["shadow"].cast<std::optional<std::pair<std::uint64_t, double>>>()) {
    route.shadow = net::RouteSpec::ShadowSpec{shadow->first, shadow->second};
  }
  const auto slow = item<std::vector<std::int64_t>>(given, "slow_ns");
  std::copy_n(slow.begin(), std::min(slow.size(), route.slow_ns.size()), route.slow_ns.begin());
  return route;
}

}  // namespace kedge::bindings
