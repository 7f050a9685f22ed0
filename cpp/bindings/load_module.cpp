// kedge._load: the load generator as Python sees it. kedge.load checks what comes in.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "load/generator.hpp"

namespace py = pybind11;
using namespace py::literals;

namespace kedge::bindings {
namespace {

using load::Histogram;

// Raised as kedge._load.StartError.
class StartError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

void raise_if_bad(const Status& status) {
  if (!status.ok()) throw StartError(status.message());
}

void record(Histogram& histogram, const py::array_t<std::int64_t, py::array::c_style>& values) {
  for (py::ssize_t at = 0; at < values.size(); ++at) histogram.record(values.data()[at]);
}

// (lowest, highest, count) of every cell that holds something.
py::list cells(const Histogram& histogram) {
  py::list found;
  for (std::size_t cell = 0; cell < histogram.counts().size(); ++cell) {
    const std::uint64_t count = histogram.counts()[cell];
    if (count > 0) found.append(py::make_tuple(histogram.lowest(cell), histogram.highest(cell), count));
  }
  return found;
}

py::array_t<std::int64_t> arrivals(bool poisson, double rate, std::uint64_t seed, py::ssize_t count) {
  load::Arrivals schedule(poisson ? load::Pattern::poisson : load::Pattern::uniform, rate, seed);
  py::array_t<std::int64_t> times(count);
  for (py::ssize_t at = 0; at < count; ++at) times.mutable_data()[at] = schedule.next();
  return times;
}

py::dict interval_out(const load::Interval& one) {
  return py::dict("planned"_a = one.planned, "sent"_a = one.sent, "ok"_a = one.ok, "shed"_a = one.shed,
                  "failed"_a = one.failed, "latency"_a = one.latency);
}

// grpc-message as the server sent it: percent-encoded ASCII, or whatever else it put there.
py::bytes text(const std::string& from) { return {from}; }

Result<load::Target> resolve(const std::string& host, std::uint16_t port, const std::string& path) {
  const py::gil_scoped_release release;  // it may ask the network
  return load::resolve(host, port, path);
}

class PyGenerator {
 public:
  PyGenerator(const py::dict& given, const py::list& messages) {
    load::Options options;
    auto target = resolve(given["host"].cast<std::string>(), given["port"].cast<std::uint16_t>(),
                          given["socket"].cast<std::string>());
    if (!target.ok()) throw StartError(target.status().message());
    options.target = std::move(target).value();
    options.target.head.path = given["path"].cast<std::string>();
    options.target.head.timeout = given["timeout"].cast<std::string>();
    const auto ca = given["ca"].cast<std::string>();
    if (!ca.empty()) {
      auto tls = load::ClientTlsContext::make(ca, given["certificate"].cast<std::string>(),
                                              given["key"].cast<std::string>());
      if (!tls.ok()) throw StartError(tls.status().message());
      options.target.tls = std::move(tls).value();
      options.target.head.scheme = "https";
    }
    for (const py::handle message : messages) options.messages.push_back(message.cast<std::string>());
    options.rate = given["rate"].cast<double>();
    options.closed = given["closed"].cast<std::uint32_t>();
    options.pattern = given["poisson"].cast<bool>() ? load::Pattern::poisson : load::Pattern::uniform;
    options.seed = given["seed"].cast<std::uint64_t>();
    options.duration_ns = given["duration_ns"].cast<std::int64_t>();
    options.requests = given["requests"].cast<std::uint64_t>();
    options.connections = given["connections"].cast<std::uint32_t>();
    options.streams = given["streams"].cast<std::uint32_t>();
    options.deadline_ns = given["deadline_ns"].cast<std::int64_t>();
    options.grace_ns = given["grace_ns"].cast<std::int64_t>();
    options.threads = given["threads"].cast<std::uint32_t>();
    options.sample_share = given["sample_share"].cast<double>();
    generator_ = std::make_unique<load::Generator>(std::move(options));
  }
  // Stops a run that was left alone: its threads take up to a second, in which others may go on.
  ~PyGenerator() {
    const py::gil_scoped_release release;
    generator_.reset();
  }
  PyGenerator(const PyGenerator&) = delete;
  PyGenerator& operator=(const PyGenerator&) = delete;

  void start() {
    const py::gil_scoped_release release;
    raise_if_bad(generator_->start());
  }
  bool wait(double seconds) {
    const py::gil_scoped_release release;
    return generator_->wait(seconds);
  }
  void stop() { generator_->stop(); }

  py::tuple progress() const {
    const load::Progress now = generator_->progress();
    return py::make_tuple(now.planned, now.ok, now.not_ok);
  }

  py::list take_samples() {
    py::list found;
    for (const load::Sample& sample : generator_->take_samples()) {
      found.append(py::make_tuple(py::bytes(sample.prediction_id), sample.message));
    }
    return found;
  }

  py::dict tally() const {
    if (!generator_->wait(0)) throw std::runtime_error("the run has not ended; wait for it");
    const load::Tally tally = generator_->tally();
    py::list texts;
    for (const std::string& each : tally.texts) texts.append(text(each));
    py::list origins;
    for (const load::Origin& each : tally.origins) {
      origins.append(py::make_tuple(text(each.bundle), text(each.version), each.count));
    }
    py::list intervals;
    for (const load::Interval& each : tally.intervals) intervals.append(interval_out(each));
    return py::dict(
        "planned"_a = tally.planned, "sent"_a = tally.sent, "ok"_a = tally.ok, "good"_a = tally.good,
        "late"_a = tally.late, "waited"_a = tally.waited, "statuses"_a = py::cast(tally.statuses),
        "failures"_a = py::cast(tally.failures), "texts"_a = texts,
        "malformed_text"_a = text(tally.malformed_text), "broken_text"_a = text(tally.broken_text),
        "latency"_a = tally.latency, "service"_a = tally.service, "other_latency"_a = tally.other_latency,
        "other_service"_a = tally.other_service, "lag"_a = tally.lag, "origins"_a = origins,
        "intervals"_a = intervals, "interval_seconds"_a = generator_->interval_seconds(),
        "bytes_in"_a = tally.bytes_in, "bytes_out"_a = tally.bytes_out, "reconnects"_a = tally.reconnects,
        "cpu_ns"_a = tally.cpu_ns, "ended_ns"_a = tally.ended_ns, "lost"_a = tally.lost);
  }

 private:
  std::unique_ptr<load::Generator> generator_;
};

}  // namespace
}  // namespace kedge::bindings

PYBIND11_MODULE(_load, module) {
  using kedge::bindings::PyGenerator;
  module.doc() = "The load generator in C++.";
  py::register_exception<kedge::bindings::StartError>(module, "StartError");
  module.def("arrivals", &kedge::bindings::arrivals, py::arg("poisson"), py::arg("rate"), py::arg("seed"),
             py::arg("count"), "The first times of a schedule, in nanoseconds.");
  py::class_<kedge::load::Histogram>(module, "Histogram", "Durations in log-linear cells, in nanoseconds.")
      .def(py::init<unsigned>(), py::arg("bits") = kedge::load::Histogram::default_bits)
      .def("record", &kedge::bindings::record, py::arg("values"))
      .def("add", &kedge::load::Histogram::add, py::arg("other"))
      .def("at", &kedge::load::Histogram::at, py::arg("share"))
      .def("cells", &kedge::bindings::cells)
      .def_property_readonly("bits", &kedge::load::Histogram::bits)
      .def_property_readonly("count", &kedge::load::Histogram::count)
      .def_property_readonly("min", &kedge::load::Histogram::min)
      .def_property_readonly("max", &kedge::load::Histogram::max)
      .def_property_readonly("mean", &kedge::load::Histogram::mean);
  py::class_<PyGenerator>(module, "Generator", "One run; see kedge.load.")
      .def(py::init<const py::dict&, const py::list&>(), py::arg("options"), py::arg("messages"))
      .def("start", &PyGenerator::start)
      .def("wait", &PyGenerator::wait, py::arg("seconds"))
      .def("stop", &PyGenerator::stop)
      .def("progress", &PyGenerator::progress)
      .def("take_samples", &PyGenerator::take_samples)
      .def("tally", &PyGenerator::tally);
}
