#include "engine/shadow_port.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

#include "engine/shadow.hpp"
#include "engine/worker.hpp"

namespace kedge::engine {
namespace {

// Inputs start where any element may lie.
constexpr std::size_t kAlign = alignof(std::max_align_t);

std::size_t aligned(std::size_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

// The part of an input that is one request's.
struct Part {
  TensorView tensor;
  std::size_t bytes = 0;  // as a request carries it
};

Part part_of(const TensorView& input, std::size_t first, std::size_t count, bool by_row) {
  Part part{input, 0};
  if (by_row) {
    const auto rows = static_cast<std::size_t>(input.shape[0]);
    part.tensor.shape[0] = static_cast<std::int64_t>(count);
    const std::size_t row_bytes = input.bytes.size() / rows;
    const std::size_t row_strings = input.strings.size() / rows;
    part.tensor.bytes = input.bytes.subspan(first * row_bytes, count * row_bytes);
    part.tensor.strings = input.strings.subspan(first * row_strings, count * row_strings);
  }
  part.bytes = part.tensor.bytes.size();
  for (const std::string_view text : part.tensor.strings) part.bytes += sizeof(std::uint32_t) + text.size();
  return part;
}

void copy(const TensorView& tensor, std::uint8_t* to) {
  if (!tensor.bytes.empty()) std::memcpy(to, tensor.bytes.data(), tensor.bytes.size());
  for (const std::string_view text : tensor.strings) {
    const auto length = static_cast<std::uint32_t>(text.size());
    std::memcpy(to, &length, sizeof length);
    if (!text.empty()) std::memcpy(to + sizeof length, text.data(), text.size());
    to += sizeof length + text.size();
  }
}

// A view of copied elements, as if they had come in a request.
wire::InputView as_input(const Part& part, const std::uint8_t* bytes) {
  wire::InputView view;
  view.dtype = static_cast<wire::DType>(part.tensor.type);
  const auto dims = part.tensor.shape.dims();
  std::copy(dims.begin(), dims.end(), view.shape.values.begin());
  view.shape.rank = static_cast<std::uint8_t>(dims.size());
  view.elements = part.tensor.shape.elements();
  view.raw = {bytes, part.bytes};
  view.in_place = true;
  return view;
}

}  // namespace

ShadowRoute::ShadowRoute(std::uint64_t number, std::shared_ptr<Shadow> who,
                         std::shared_ptr<const Target> target, double sample, const Model& arm)
    : id(number), shadow(std::move(who)), as(std::move(target)), threshold(wire::share_threshold(sample)) {
  const auto have = arm.session()->inputs();
  for (const TensorSpec& wanted : as->model->session()->inputs()) {
    const auto found = std::find_if(have.begin(), have.end(), [&](const TensorSpec& spec) {
      return spec.name == wanted.name && spec.type == wanted.type;
    });
    if (found == have.end()) return;
    inputs.push_back(static_cast<std::size_t>(found - have.begin()));
  }
  fits = true;
}

ShadowQueue::~ShadowQueue() {
  while (pop() != nullptr) {
  }
}

bool ShadowQueue::has_room(std::size_t bytes) const {
  const std::size_t waiting =
      written_.load(std::memory_order_relaxed) - read_.load(std::memory_order_acquire);
  const std::size_t held =
      bytes_in_.load(std::memory_order_relaxed) - bytes_out_.load(std::memory_order_relaxed);
  return waiting < kRequests && held + bytes <= kBytes;
}

// Sequentially consistent, as the reader's flag is: either the writer sees that the reader sleeps, or the
// reader sees the item before it does.
void ShadowQueue::push(std::unique_ptr<ShadowItem> item) {
  const std::size_t at = written_.load(std::memory_order_relaxed);
  bytes_in_.store(bytes_in_.load(std::memory_order_relaxed) + item->held, std::memory_order_relaxed);
  slots_[at % kRequests] = item.release();
  written_.store(at + 1, std::memory_order_seq_cst);
}

const ShadowItem* ShadowQueue::front() const {
  const std::size_t at = read_.load(std::memory_order_relaxed);
  return written_.load(std::memory_order_seq_cst) == at ? nullptr : slots_[at % kRequests];
}

std::unique_ptr<ShadowItem> ShadowQueue::pop() {
  if (front() == nullptr) return nullptr;
  const std::size_t at = read_.load(std::memory_order_relaxed);
  std::unique_ptr<ShadowItem> item(slots_[at % kRequests]);
  bytes_out_.store(bytes_out_.load(std::memory_order_relaxed) + item->held, std::memory_order_relaxed);
  read_.store(at + 1, std::memory_order_release);
  return item;
}

ShadowQueue::Counts ShadowQueue::take_counts() {
  const Counts now{offered_.load(std::memory_order_relaxed), dropped_.load(std::memory_order_relaxed),
                   failed_.load(std::memory_order_relaxed)};
  const Counts since{now.offered - taken_.offered, now.dropped - taken_.dropped, now.failed - taken_.failed};
  taken_ = now;
  return since;
}

void ShadowSender::offer(const std::shared_ptr<const ShadowRoute>& to_whom, const Lane& lane,
                         std::span<const Request* const> requests, const PredictionView& seen,
                         std::int64_t run_ns) {
  const ShadowRoute& route = *to_whom;
  ShadowQueue& to = queue(to_whom);
  const bool every = route.threshold == std::numeric_limits<std::uint64_t>::max();
  const Model& model = *lane.model();
  const bool by_row = model.config().batchable;
  std::vector<Part> parts(route.inputs.size());
  std::size_t first = 0;
  for (const Request* request : requests) {
    const auto rows = static_cast<std::size_t>(request->rows);
    const std::size_t start = std::exchange(first, first + rows);
    if (rows == 0 || request->answer.code != Code::kOk) continue;
    if (!every && random_() >= route.threshold) continue;
    to.count_offered();
    if (!route.fits) {
      to.count_failed();
      continue;
    }
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      parts[i] = part_of(lane.inputs()[route.inputs[i]], start, rows, by_row);
      bytes += aligned(parts[i].bytes);
    }
    const std::size_t held = bytes + sizeof(ShadowItem) + parts.size() * sizeof(wire::InputView);
    if (!to.has_room(held)) {
      to.count_dropped();
      continue;
    }
    auto item = std::make_unique<ShadowItem>();
    item->bytes = std::make_unique_for_overwrite<std::uint8_t[]>(bytes);
    item->held = held;
    item->inputs.reserve(parts.size());
    std::size_t at = 0;
    for (const Part& part : parts) {
      copy(part.tensor, item->bytes.get() + at);
      item->inputs.push_back(as_input(part, item->bytes.get() + at));
      at += aligned(part.bytes);
    }
    item->rows = request->rows;
    item->alone = !by_row;
    item->live = model.score().read(seen, start);
    item->live_ns = run_ns;
    item->offered_ns = monotonic_ns();
    to.push(std::move(item));
  }
  route.shadow->wake_if_asleep();
}

void ShadowSender::tidy() {
  std::erase_if(ports_, [](const Port& port) { return port.queue.use_count() == 1; });
}

ShadowQueue& ShadowSender::queue(const std::shared_ptr<const ShadowRoute>& route) {
  for (const Port& port : ports_) {
    if (port.route == route->id) return *port.queue;
  }
  tidy();
  ports_.push_back({route->id, route->shadow->connect(route)});
  return *ports_.back().queue;
}

}  // namespace kedge::engine
