#include "bindings/tokens.hpp"

#include <pybind11/stl.h>

#include <cstring>
#include <limits>
#include <stdexcept>

namespace py = pybind11;

namespace kedge::bindings {
namespace {

enum Status : std::uint8_t { valid, forged, expired };

// kedge.plane.token.COLUMNS: the fields in this order, with nothing between them.
constexpr std::size_t record_bytes = 86;

class RecordWriter {
 public:
  explicit RecordWriter(char* to) : start_(to), at_(to) {}
  template <class T>
  void put(const T& value) {
    std::memcpy(at_, &value, sizeof value);
    at_ += sizeof value;
  }
  std::size_t size() const { return static_cast<std::size_t>(at_ - start_); }

 private:
  char* start_;
  char* at_;
};

// Returns the bytes written: always record_bytes.
std::size_t write(const wire::Prediction& prediction, Status status, char* to) {
  constexpr double none = std::numeric_limits<double>::quiet_NaN();
  wire::PredictedValue value{none, none, none};
  wire::PredictedClass label;
  if (const auto* given = std::get_if<wire::PredictedValue>(&prediction.predicted)) value = *given;
  if (const auto* given = std::get_if<wire::PredictedClass>(&prediction.predicted)) label = *given;
  std::uint64_t bundle = 0;
  for (const std::uint8_t byte : prediction.bundle) bundle = bundle << 8 | byte;
  RecordWriter record(to);
  record.put(bundle);
  record.put(prediction.boot);
  record.put(prediction.sequence);
  record.put(value.value);
  record.put(value.lower);
  record.put(value.upper);
  record.put(prediction.epoch);
  record.put(prediction.seconds);
  record.put(prediction.key_bits);
  record.put(prediction.slice);
  record.put(prediction.shard);
  record.put(label.label);
  record.put(label.probabilities);
  record.put(status);
  record.put(static_cast<std::uint8_t>(prediction.predicted.index()));
  record.put(prediction.arm);
  record.put(label.count);
  return record.size();
}

std::size_t read(std::string_view text, std::span<const wire::TokenKey> keys, char* to) {
  const Result<wire::Prediction> result = wire::decode_token(text, keys);
  if (result.ok()) return write(result.value(), valid, to);
  return write({}, result.status().code() == Code::kNotFound ? expired : forged, to);
}

// The characters of a str or bytes object that the caller keeps. A text that cannot be a token is empty.
std::string_view characters(py::handle text) {
  if (PyUnicode_Check(text.ptr())) {
    if (!PyUnicode_IS_COMPACT_ASCII(text.ptr())) return {};
    return {static_cast<const char*>(PyUnicode_DATA(text.ptr())),
            static_cast<std::size_t>(PyUnicode_GET_LENGTH(text.ptr()))};
  }
  if (!PyBytes_Check(text.ptr())) throw py::type_error("a prediction id must be str or bytes");
  return {PyBytes_AS_STRING(text.ptr()), static_cast<std::size_t>(PyBytes_GET_SIZE(text.ptr()))};
}

}  // namespace

wire::TokenKey token_key(std::uint8_t id, const std::string& secret) {
  wire::TokenKey key{id, {}};
  if (secret.size() != key.secret.size()) throw std::invalid_argument("a token key's secret has 16 bytes");
  std::memcpy(key.secret.data(), secret.data(), secret.size());
  return key;
}

py::bytes unseal_tokens(const py::list& texts, const std::vector<std::pair<std::uint8_t, py::bytes>>& keys) {
  std::vector<wire::TokenKey> known;
  for (const auto& [id, secret] : keys) known.push_back(token_key(id, secret));
  const py::tuple kept(texts);  // another thread may change the list, not these
  std::vector<std::string_view> views;
  views.reserve(kept.size());
  for (const py::handle text : kept) views.push_back(characters(text));
  auto records = py::reinterpret_steal<py::bytes>(
      PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(views.size() * record_bytes)));
  if (!records) throw py::error_already_set();
  char* to = PyBytes_AS_STRING(records.ptr());  // nobody else has seen these bytes yet
  {
    const py::gil_scoped_release release;
    for (const std::string_view text : views) to += read(text, known, to);
  }
  return records;
}

}  // namespace kedge::bindings
