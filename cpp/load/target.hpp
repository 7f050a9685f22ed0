// Where requests go, and how.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <memory>
#include <string>

#include "load/client_session.hpp"
#include "load/client_tls.hpp"

namespace kedge::load {

struct Target {
  sockaddr_storage address{};
  socklen_t address_bytes = 0;
  std::string host;  // what a certificate must be for
  RequestHead head;
  std::shared_ptr<const ClientTlsContext> tls;  // null: plain text
};

// Looks up `host:port` (of several addresses, the first that listens); or, where `path` is not empty, a unix
// socket. UNAVAILABLE where there is no such host.
Result<Target> resolve(const std::string& host, std::uint16_t port, const std::string& path);

}  // namespace kedge::load
