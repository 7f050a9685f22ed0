// kedge._kernel: registers the C++ kernel. Its typed face is src/kedge/_kernel.pyi.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "bindings/array_views.hpp"
#include "bindings/layout_from_python.hpp"
#include "sketch/sketch.hpp"

namespace py = pybind11;

namespace kedge::bindings {
namespace {

// Below this many values a call ends sooner than the GIL changes hands.
constexpr std::size_t kValuesWorthReleasing = 4096;

void raise_if_bad(const Status& status) {
  if (!status.ok()) raise_kernel_error(status.message());
}

// Refuses a second thread while the GIL is released: a sketch has one writer.
class Exclusive {
 public:
  explicit Exclusive(bool& busy) : busy_(busy) {
    if (busy_) raise_kernel_error("two threads use one sketch; give each writer its own");
    busy_ = true;
  }
  ~Exclusive() { busy_ = false; }
  Exclusive(const Exclusive&) = delete;
  Exclusive& operator=(const Exclusive&) = delete;

 private:
  bool& busy_;
};

class PySketch {
 public:
  PySketch(const py::object& layout, const py::bytes& digest, const std::string& isa) {
    const sketch::Ops* ops = sketch::find_ops(isa.c_str());
    if (ops == nullptr) raise_kernel_error("this processor has no instruction set '" + isa + "'");
    auto made = sketch::Sketch::create(layout_from_python(layout, digest), *ops);
    if (!made.ok()) raise_kernel_error(made.status().message());
    sketch_ = std::move(made).value();
  }

  void observe(const py::sequence& tensors) {
    const Exclusive exclusive(busy_);
    const auto& expected = sketch_->layout().tensors;
    if (tensors.size() != expected.size()) {
      raise_kernel_error("got " + std::to_string(tensors.size()) + " tensors; the layout has " +
                         std::to_string(expected.size()));
    }
    views_.clear();
    opened_.clear();
    std::size_t values = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      opened_.push_back(views_.open(expected[i], tensors[i]));
      values += opened_.back().rows * expected[i].columns;
    }
    raise_if_bad(without_gil(values, [this] { return sketch_->observe(opened_); }));
    views_.clear();
  }

  void observe_predictions(const py::object& classes, const py::object& scores, bool probabilities) {
    const Exclusive exclusive(busy_);
    views_.clear();
    const std::size_t width = std::max<std::size_t>(1, sketch_->layout().classes);
    sketch::TensorView ids;
    sketch::TensorView table;
    if (!classes.is_none()) ids = views_.open({"classes", 1, false}, classes);
    if (!scores.is_none()) table = views_.open({"scores", width, false}, scores);
    raise_if_bad(without_gil(table.rows * width, [&] {
      return sketch_->observe_predictions(classes.is_none() ? nullptr : &ids,
                                          scores.is_none() ? nullptr : &table, probabilities);
    }));
    views_.clear();
  }

  void observe_batch(const py::array& queue_ns, std::int64_t run_ns, std::int64_t rows) {
    const Exclusive exclusive(busy_);
    if (!py::dtype::of<std::int64_t>().equal(queue_ns.dtype()) || queue_ns.ndim() != 1) {
      raise_kernel_error("queue times must be [R] int64");
    }
    if (rows < 1) raise_kernel_error("a batch of " + std::to_string(rows) + " rows");
    std::vector<std::int64_t> times;
    times.reserve(static_cast<std::size_t>(queue_ns.size()));
    for (py::ssize_t i = 0; i < queue_ns.size(); ++i) {
      times.push_back(sketch::load<std::int64_t>(static_cast<const std::byte*>(queue_ns.data(i))));
    }
    raise_if_bad(sketch_->observe_batch(times, run_ns, static_cast<std::size_t>(rows)));
  }

  void observe_status(std::int64_t code, std::int64_t count) {
    const Exclusive exclusive(busy_);
    if (count < 0) raise_kernel_error(std::to_string(count) + " answers cannot be counted");
    const bool known = code >= 0 && code < static_cast<std::int64_t>(sketch::kStatusCodes);
    sketch_->observe_status(known ? static_cast<std::uint32_t>(code) : sketch::kStatusCodes,
                            static_cast<std::uint64_t>(count));
  }

  void observe_schema(const std::string& kind, const std::string& name) {
    const Exclusive exclusive(busy_);
    if (kind == "unknown") {
      sketch_->observe_schema_unknown();
      return;
    }
    constexpr const char* kKinds[] = {"missing", "mistyped", "misshaped"};
    const auto* const found = std::find(std::begin(kKinds), std::end(kKinds), kind);
    const auto& inputs = sketch_->layout().schema_inputs;
    const auto input = std::find(inputs.begin(), inputs.end(), name);
    if (found == std::end(kKinds) || input == inputs.end()) {
      raise_kernel_error("no counter for schema violation '" + kind + "' of '" + name + "'");
    }
    raise_if_bad(sketch_->observe_schema(static_cast<sketch::SchemaKind>(found - std::begin(kKinds)),
                                         static_cast<std::size_t>(input - inputs.begin())));
  }

  void merge_words(const py::array_t<std::int64_t, py::array::c_style>& words,
                   const py::array_t<double, py::array::c_style>& bounds) {
    const Exclusive exclusive(busy_);
    raise_if_bad(sketch_->merge({words.data(), static_cast<std::size_t>(words.size())},
                                {bounds.data(), static_cast<std::size_t>(bounds.size())}));
  }

  py::bytes snapshot() {
    const Exclusive exclusive(busy_);
    std::vector<std::byte> bytes(sketch_->state().snapshot_bytes());
    raise_if_bad(sketch_->snapshot_into(bytes));
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  void reset() {
    const Exclusive exclusive(busy_);
    sketch_->reset();
  }

 private:
  template <class Work>
  static Status without_gil(std::size_t values, const Work& work) {
    if (values < kValuesWorthReleasing) return work();
    const py::gil_scoped_release release;
    return work();
  }

  std::unique_ptr<sketch::Sketch> sketch_;
  ArrayViews views_;
  std::vector<sketch::TensorView> opened_;
  bool busy_ = false;
};

std::vector<std::string> isas() {
  std::vector<std::string> names;
  for (const sketch::Ops* ops : sketch::available_ops()) names.emplace_back(ops->isa);
  return names;
}

}  // namespace
}  // namespace kedge::bindings

PYBIND11_MODULE(_kernel, module) {
  using kedge::bindings::PySketch;
  module.doc() = "The drift kernel in C++.";
  module.def("isas", &kedge::bindings::isas, "Instruction sets this processor can count with, best first.");
  py::class_<PySketch>(module, "Sketch", "Counts of one writer; see kedge.kernel.contract.Sketch.")
      .def(py::init<const py::object&, const py::bytes&, const std::string&>(), py::arg("layout"),
           py::arg("digest"), py::arg("isa"))
      .def("observe", &PySketch::observe, py::arg("tensors"))
      .def("observe_predictions", &PySketch::observe_predictions, py::arg("classes"), py::arg("scores"),
           py::kw_only(), py::arg("probabilities") = false)
      .def("observe_batch", &PySketch::observe_batch, py::arg("queue_ns"), py::arg("run_ns"), py::arg("rows"))
      .def("observe_status", &PySketch::observe_status, py::arg("code"), py::arg("count") = 1)
      .def("observe_schema", &PySketch::observe_schema, py::arg("kind"), py::arg("name"))
      .def("merge_words", &PySketch::merge_words, py::arg("words"), py::arg("bounds"))
      .def("snapshot", &PySketch::snapshot)
      .def("reset", &PySketch::reset);
}
