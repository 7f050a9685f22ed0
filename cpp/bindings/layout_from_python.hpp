// kedge.kernel.contract.Layout to kedge::sketch::Layout.
#pragma once

#include <pybind11/pybind11.h>

#include "sketch/layout.hpp"

namespace kedge::bindings {

// `digest` is kedge.kernel.state.layout_digest(layout). Throws what pybind11 throws where an attribute is not
// as the contract's classes, which have checked themselves, hold it.
sketch::Layout layout_from_python(const pybind11::object& layout, const pybind11::bytes& digest);

sketch::CategoricalFeature categorical_from_python(const pybind11::handle& feature);

}  // namespace kedge::bindings
