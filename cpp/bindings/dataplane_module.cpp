// kedge._dataplane: the native data plane as Python sees it. The facade in kedge/plane/native checks what
// comes in.
#include <pybind11/functional.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bindings/model_from_python.hpp"
#include "bindings/route_from_python.hpp"
#include "bindings/tensors.hpp"
#include "bindings/tokens.hpp"
#include "net/server.hpp"

namespace py = pybind11;
using namespace py::literals;

namespace kedge::bindings {
namespace {

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
    engine::ModelConfig parsed = model_from_python(config);
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
    for (const py::handle each : routes)
      parsed.push_back(route_from_python(py::reinterpret_borrow<py::dict>(each)));
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
    for (engine::CellCounts& taken : cells) {
      const engine::CellCounts cell = std::move(taken);  // freed at once: they are large
      out.append(
          py::make_tuple(cell.bundle, static_cast<int>(cell.arm), cell.epoch,
                         py::bytes(reinterpret_cast<const char*>(cell.counts.data()), cell.counts.size()),
                         py::bytes(reinterpret_cast<const char*>(cell.evidence.data()),
                                   cell.evidence.size() * sizeof(std::int64_t))));
    }
    return out;
  }

  void forget(const std::string& bundle) {
    const py::gil_scoped_release release;
    server_->forget(bundle);
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
                  "differences"_a = evidence::kDifferences, "judged"_a = evidence::kJudged,
                  "words"_a = evidence::kWords, "filter_bits"_a = engine::UnitFilter::kBits,
                  "suspects"_a = engine::Suspects::kRows);
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
      .def("forget", &Plane::forget, "bundle"_a)
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
  module.def("siphash24", &kedge::bindings::siphash24, "key"_a, "message"_a);
  py::class_<kedge::bindings::RowSealer>(module, "RowSealer")
      .def(py::init<std::uint8_t, const std::string&, const std::string&, std::uint32_t, std::uint64_t,
                    std::uint16_t>(),
           "key"_a, "secret"_a, "bundle"_a, "epoch"_a, "boot"_a, "shard"_a)
      .def("seal", &kedge::bindings::RowSealer::seal, "sequence"_a, "seconds"_a, "arm"_a, "key_bits"_a,
           "rows"_a, "slices"_a, "classes"_a, "scores"_a, "lower"_a, "upper"_a);
}
