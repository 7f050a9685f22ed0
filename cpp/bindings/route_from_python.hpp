// What kedge.plane.native says of a route to kedge::net::RouteSpec.
#pragma once

#include <pybind11/pybind11.h>

#include "net/server.hpp"

namespace kedge::bindings {

// Throws what pybind11 throws where an entry is missing or of another type.
net::RouteSpec route_from_python(const pybind11::dict& given);

}  // namespace kedge::bindings
