// kedge._dataplane: the native data plane as Python sees it. The facade in kedge/plane/native checks what
// comes in.
#include <pybind11/functional.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bindings/layout_from_python.hpp"
#include "bindings/tokens.hpp"
#include "net/server.hpp"

namespace py = pybind11;
using namespace py::literals;

namespace kedge::bindings {
namespace {

// A tensor from Python: (ONNX element type, shape, bytes of the elements | list of bytes for strings).
class TensorIn {
 public:
  explicit TensorIn(const py::tuple& given) {
    view_.type = static_cast<ort::Element>(given[0].cast<int>());
    view_.shape = engine::Shape(given[1].cast<std::vector<std::int64_t>>());
    if (view_.type == ort::Element::string) {
      owned_ = given[2].cast<std::vector<std::string>>();
      strings_.assign(owned_.begin(), owned_.end());
      view_.strings = strings_;
    } else {
      // Copied, so that the elements are aligned and cannot change while the GIL is released.
      const auto bytes = given[2].cast<std::string_view>();
      elements_.resize(bytes.size() / sizeof(std::uint64_t) + 1);
      std::copy(bytes.begin(), bytes.end(), reinterpret_cast<char*>(elements_.data()));
      view_.bytes = {reinterpret_cast<const std::uint8_t*>(elements_.data()), bytes.size()};
    }
  }
  TensorIn(TensorIn&&) = default;
  const engine::TensorView& view() const { return view_; }

 private:
  std::vector<std::uint64_t> elements_;
  std::vector<std::string> owned_;
  std::vector<std::string_view> strings_;
  engine::TensorView view_;
};

class Tensors {
 public:
  explicit Tensors(const py::list& given) {
    for (const py::handle each : given) tensors_.emplace_back(py::reinterpret_borrow<py::tuple>(each));
    for (const TensorIn& tensor : tensors_) views_.push_back(tensor.view());
  }
  std::span<const engine::TensorView> views() const { return views_; }

 private:
  std::vector<TensorIn> tensors_;
  std::vector<engine::TensorView> views_;
};

py::object elements_out(const std::uint8_t* data, std::size_t size) {
  return py::bytes(reinterpret_cast<const char*>(data), size);
}

py::tuple tensor_out(const std::string& name, const engine::TensorView& tensor) {
  py::object data;
  if (tensor.type == ort::Element::string) {
    py::list texts;
    for (std::size_t i = 0; i < tensor.offsets.size(); ++i) {
      const std::size_t end = i + 1 < tensor.offsets.size() ? tensor.offsets[i + 1] : tensor.bytes.size();
      texts.append(elements_out(tensor.bytes.data() + tensor.offsets[i], end - tensor.offsets[i]));
    }
    data = texts;
  } else {
    data = elements_out(tensor.bytes.data(), tensor.bytes.size());
  }
  const auto dims = tensor.shape.dims();
  return py::make_tuple(name, static_cast<int>(tensor.type),
                        std::vector<std::int64_t>(dims.begin(), dims.end()), data);
}

py::tuple row_out(const engine::SampledTensor& tensor) {
  py::object data;
  if (tensor.type == ort::Element::string) {
    py::list texts;
    for (const std::string& text : tensor.strings) texts.append(py::bytes(text));
    data = texts;
  } else {
    data = elements_out(tensor.bytes.data(), tensor.bytes.size());
  }
  const auto dims = tensor.shape.dims();
  return py::make_tuple(static_cast<int>(tensor.type), std::vector<std::int64_t>(dims.begin(), dims.end()),
                        data);
}

template <class T>
T item(const py::dict& from, const char* name) {
  return from[name].cast<T>();
}

// From (name, ONNX element type, shape) tuples.
std::vector<engine::TensorSpec> tensor_specs(const py::handle& given) {
  std::vector<engine::TensorSpec> specs;
  for (const py::handle each : given) {
    const auto spec = py::reinterpret_borrow<py::tuple>(each);
    const auto shape = spec[2].cast<std::vector<std::int64_t>>();
    if (shape.size() > engine::kMaxRank)
      throw engine::LoadError("a tensor has more dimensions than can be served");
    specs.push_back(
        {spec[0].cast<std::string>(), static_cast<ort::Element>(spec[1].cast<int>()), engine::Shape(shape)});
  }
  return specs;
}

engine::ModelConfig model_config(const py::dict& given) {
  engine::ModelConfig config;
  config.key = item<std::uint64_t>(given, "key");
  config.bundle = item<std::string>(given, "bundle");
  config.name = item<std::string>(given, "name");
  config.version = item<std::string>(given, "version");
  config.session.path = item<std::string>(given, "path");
  config.session.intra_op_threads = item<int>(given, "intra_op_threads");
  config.session.providers = item<std::vector<std::string>>(given, "providers");
  config.session.inputs = tensor_specs(given["inputs"]);
  config.session.outputs = tensor_specs(given["outputs"]);
  config.batchable = item<bool>(given, "batchable");
  config.prediction.kind = static_cast<engine::PredictionKind>(item<int>(given, "prediction_kind"));
  config.prediction.output = item<std::size_t>(given, "prediction_output");
  config.prediction.label_output = item<std::optional<std::size_t>>(given, "label_output");
  config.prediction.classes = item<std::vector<std::string>>(given, "classes");
  config.prediction.lower_output = item<std::size_t>(given, "lower_output");
  config.prediction.upper_output = item<std::size_t>(given, "upper_output");
  config.prediction.sigma_output = item<std::size_t>(given, "sigma_output");
  if (const auto scores = item<std::optional<std::tuple<int, double, double>>>(given, "calibration")) {
    const auto& [score, alpha, threshold] = *scores;
    config.calibration = {static_cast<engine::ScoreKind>(score), alpha, threshold};
  }
  config.outcomes = item<bool>(given, "outcomes");
  config.max_batch = item<std::int64_t>(given, "max_batch");
  config.max_queue_delay_us = item<std::int64_t>(given, "max_queue_delay_us");
  config.max_queue = item<std::size_t>(given, "max_queue");
  config.execution = static_cast<engine::Execution>(item<int>(given, "execution"));
  config.instances = item<int>(given, "instances");
  config.layout = std::make_shared<const sketch::Layout>(
      layout_from_python(given["layout"].cast<py::object>(), given["layout_digest"].cast<py::bytes>()));
  config.layout_inputs = item<std::vector<std::size_t>>(given, "layout_inputs");
  return config;
}

net::RouteSpec route_spec(const py::dict& given) {
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

std::chrono::nanoseconds seconds(double value) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(value));
}

class Plane {
 public:
  Plane(const std::string& library, const std::string& version, std::size_t shards, int threads) {
    net::ServerOptions options;
    options.runtime.library = library;
    options.runtime.version = version;
    options.runtime.intra_op_threads = threads;
    options.shards = shards;
    const py::gil_scoped_release release;
    server_ = std::make_unique<net::Server>(std::move(options));
  }
  ~Plane() {
    const py::gil_scoped_release release;
    server_.reset();
  }

  void configure_tls(const std::string& certificate, const std::string& key, const std::string& client_ca) {
    auto made = wire::TlsContext::make(certificate, key, client_ca);
    if (!made.ok()) throw net::ControlError(made.status().message());
    server_->configure_tls(std::move(made).value());
  }

  void configure_limits(std::size_t message, std::size_t queue, std::size_t connections,
                        std::uint32_t streams) {
    server_->configure_limits({message, queue, connections, streams});
  }

  void configure_tokens(std::uint8_t id, const std::string& secret, std::uint64_t boot) {
    server_->configure_tokens({token_key(id, secret), boot});
  }

  void confide(std::uint64_t key, double threshold) { server_->confide(key, threshold); }

  void load(const py::dict& config, const py::list& sample, bool warm_up) {
    engine::ModelConfig parsed = model_config(config);
    const Tensors tensors(sample);
    const py::gil_scoped_release release;
    server_->load(std::move(parsed), tensors.views(), warm_up);
  }

  void announce(const std::string& name, const std::string& version) { server_->announce(name, version); }
  void withdraw(const std::string& name, const std::string& version) { server_->withdraw(name, version); }

  py::list run(std::uint64_t key, const py::list& inputs) {
    const Tensors tensors(inputs);
    py::list outputs;
    const py::gil_scoped_release release;
    server_->run(key, tensors.views(), [&](const engine::TensorSpec& spec, const engine::TensorView& tensor) {
      const py::gil_scoped_acquire acquire;
      outputs.append(tensor_out(spec.name, tensor));
    });
    return outputs;
  }

  std::int64_t publish(const py::list& routes) {
    std::vector<net::RouteSpec> parsed;
    for (const py::handle each : routes) parsed.push_back(route_spec(py::reinterpret_borrow<py::dict>(each)));
    const py::gil_scoped_release release;
    return server_->publish(parsed);
  }

  std::int64_t retire(std::uint64_t key, double grace) {
    const py::gil_scoped_release release;
    return server_->retire(key, seconds(grace));
  }

  py::list snapshot() {
    std::vector<engine::CellCounts> cells;
    {
      const py::gil_scoped_release release;
      cells = server_->snapshot();
    }
    py::list out;
    for (const engine::CellCounts& cell : cells) {
      out.append(
          py::make_tuple(cell.bundle, static_cast<int>(cell.arm), cell.epoch,
                         py::bytes(reinterpret_cast<const char*>(cell.counts.data()), cell.counts.size()),
                         py::bytes(reinterpret_cast<const char*>(cell.evidence.data()),
                                   cell.evidence.size() * sizeof(std::int64_t))));
    }
    return out;
  }

  py::list reservoir(std::uint64_t key) {
    return rows_out([&] { return server_->reservoir(key); });
  }
  py::list suspects(std::uint64_t key) {
    return rows_out([&] { return server_->suspects(key); });
  }

  // The next event of a cold call, as (call, kind, method, metadata, payload); None when the plane was
  // stopped.
  py::object next_cold() {
    std::optional<net::ColdEvent> event;
    {
      const py::gil_scoped_release release;
      event = server_->next_cold();
    }
    if (!event.has_value()) return py::none();
    py::list metadata;
    for (const auto& [name, value] : event->metadata)
      metadata.append(py::make_tuple(py::bytes(name), py::bytes(value)));
    return py::make_tuple(event->call, static_cast<int>(event->kind), event->method, metadata,
                          py::bytes(event->payload));
  }

  void reply(std::uint64_t call, std::optional<py::bytes> payload, bool last, int code,
             const std::string& text) {
    std::optional<std::string> bytes;
    if (payload.has_value()) bytes = std::string(*payload);
    const py::gil_scoped_release release;
    server_->reply(call, std::move(bytes), last, static_cast<Code>(code), text);
  }

  std::string start(const std::string& address) {
    const py::gil_scoped_release release;
    return server_->start(address);
  }

  bool drain(double timeout, double grace) {
    const py::gil_scoped_release release;
    return server_->drain(seconds(timeout), seconds(grace));
  }

  void stop() {
    const py::gil_scoped_release release;
    server_->stop();
  }

  std::int64_t inline_rows(std::uint64_t key) { return server_->inline_rows(key); }
  std::vector<std::string> providers() { return server_->runtime().providers(); }

 private:
  template <class F>
  static py::list rows_out(F&& ask) {
    std::vector<engine::SampledRow> rows;
    {
      const py::gil_scoped_release release;
      rows = ask();
    }
    py::list out;
    for (const engine::SampledRow& row : rows) {
      py::list tensors;
      for (const engine::SampledTensor& tensor : row) tensors.append(row_out(tensor));
      out.append(tensors);
    }
    return out;
  }

  std::unique_ptr<net::Server> server_;
};

// Where the words of an evidence block lie, so that a test can hold them against kedge.plane.evidence.
py::dict evidence_layout() {
  namespace evidence = engine::evidence;
  return py::dict("units"_a = evidence::kUnits, "first_events"_a = evidence::kFirst,
                  "request_events"_a = evidence::kRequest, "first_scores"_a = evidence::kScores,
                  "offered"_a = evidence::kOffered, "dropped"_a = evidence::kDropped,
                  "failed"_a = evidence::kFailed, "compared"_a = evidence::kCompared,
                  "disagreed"_a = evidence::kDisagreed, "live_ns"_a = evidence::kLiveNs,
                  "shadow_ns"_a = evidence::kShadowNs, "agreement"_a = evidence::kAgreement,
                  "differences"_a = evidence::kDifferences, "words"_a = evidence::kWords,
                  "filter_bits"_a = engine::UnitFilter::kBits, "suspects"_a = engine::Suspects::kRows);
}

}  // namespace
}  // namespace kedge::bindings

PYBIND11_MODULE(_dataplane, module) {
  using kedge::bindings::Plane;
  module.doc() = "The native data plane; see kedge.plane.native for the documented interface.";
  py::register_exception<kedge::engine::LoadError>(module, "LoadError");
  py::register_exception<kedge::net::ControlError>(module, "ControlError");
  module.def("evidence_layout", &kedge::bindings::evidence_layout);
  py::class_<Plane>(module, "Plane")
      .def(py::init<const std::string&, const std::string&, std::size_t, int>(), "library"_a, "version"_a,
           "shards"_a, "threads"_a)
      .def("configure_tls", &Plane::configure_tls, "certificate"_a, "key"_a, "client_ca"_a)
      .def("configure_limits", &Plane::configure_limits, "message"_a, "queue"_a, "connections"_a, "streams"_a)
      .def("configure_tokens", &Plane::configure_tokens, "number"_a, "secret"_a, "boot"_a)
      .def("confide", &Plane::confide, "key"_a, "threshold"_a)
      .def("load", &Plane::load, "config"_a, "sample"_a, "warm_up"_a)
      .def("announce", &Plane::announce, "name"_a, "version"_a)
      .def("withdraw", &Plane::withdraw, "name"_a, "version"_a)
      .def("run", &Plane::run, "key"_a, "inputs"_a)
      .def("publish", &Plane::publish, "routes"_a)
      .def("retire", &Plane::retire, "key"_a, "grace"_a)
      .def("snapshot", &Plane::snapshot)
      .def("reservoir", &Plane::reservoir, "key"_a)
      .def("suspects", &Plane::suspects, "key"_a)
      .def("next_cold", &Plane::next_cold)
      .def("reply", &Plane::reply, "call"_a, "payload"_a, "last"_a, "code"_a, "text"_a)
      .def("start", &Plane::start, "address"_a)
      .def("drain", &Plane::drain, "timeout"_a, "grace"_a)
      .def("stop", &Plane::stop)
      .def("inline_rows", &Plane::inline_rows, "key"_a)
      .def("providers", &Plane::providers);
  module.def("unseal_tokens", &kedge::bindings::unseal_tokens, "texts"_a, "keys"_a);
}
