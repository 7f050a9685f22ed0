#include "net/readiness.hpp"

#include "wire/health.hpp"
#include "wire/quote.hpp"

namespace kedge::net {
namespace {

bool serves_anything(const engine::RouteTable* table, bool leaving) {
  return !leaving && table != nullptr && !table->routes.empty();
}

bool serves(const engine::RouteTable* table, bool leaving, std::string_view model, std::string_view version) {
  if (!serves_anything(table, leaving)) return false;
  const engine::Route* route = table->find(model);
  return route != nullptr && (version.empty() || route->find(version) != nullptr);
}

}  // namespace

Result<wire::Buffer> answer_readiness(MethodTag method, wire::Bytes message, const engine::RouteTable* table,
                                      bool leaving) {
  if (method == MethodTag::model_ready) {
    const auto asked = wire::decode_model_ready(message);
    if (!asked.ok()) return asked.status();
    return wire::encode_bool(serves(table, leaving, asked.value().name, asked.value().version));
  }
  if (method == MethodTag::health_check) {
    const auto service = wire::decode_health_check(message);
    if (!service.ok()) return service.status();
    const std::string_view name = service.value();
    if (!name.empty() && (table == nullptr || table->find(name) == nullptr)) {
      return Status(Code::kNotFound, "unknown service " + wire::quoted(name));
    }
    return wire::encode_health(serves_anything(table, leaving) ? wire::Serving::serving
                                                               : wire::Serving::not_serving);
  }
  if (Status empty = wire::decode_empty(message); !empty.ok()) return empty;
  return wire::encode_bool(method == MethodTag::server_live || serves_anything(table, leaving));
}

}  // namespace kedge::net
