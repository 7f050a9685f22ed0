// What kedge.plane.native.settings says of a bundle to kedge::engine::ModelConfig.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "engine/model.hpp"

namespace kedge::bindings {

template <class T>
T item(const pybind11::dict& from, const char* name) {
  return from[name].cast<T>();
}

// Throws what pybind11 throws where an entry is missing or of another type, and engine::LoadError.
engine::ModelConfig model_from_python(const pybind11::dict& given);

}  // namespace kedge::bindings
