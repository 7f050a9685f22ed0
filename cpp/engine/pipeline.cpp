#include "engine/pipeline.hpp"

#include <time.h>

#include <algorithm>

#include "engine/encode.hpp"
#include "engine/fit.hpp"
#include "wire/infer_response.hpp"
#include "wire/quote.hpp"

namespace kedge::engine {
namespace {

std::string described(std::string_view model, std::string_view version) {
  std::string text = "model " + wire::quoted(model);
  return version.empty() ? text : "version " + wire::quoted(version) + " of " + text;
}

}  // namespace

Pipeline::Pipeline(std::uint32_t shard, Shared& shared, std::function<void()> flush)
    : shard_(shard),
      shared_(shared),
      flush_(std::move(flush)),
      random_(std::random_device{}()),
      worker_(shared.sealing) {}

Pipeline::~Pipeline() {
  for (InferStream* stream : streams_) delete stream;
}

// --- receive ---

void Pipeline::open_unary(Peer& peer, wire::Call& call) {
  Request* request = make();
  request->peer = &peer;
  request->call = &call;
  request->received_ns = now_;
  if (call.timeout().has_value()) request->deadline_ns = deadline_after(now_, call.timeout()->count());
  call.user = static_cast<CallState*>(request);
}

void Pipeline::open_stream(Peer& peer, wire::Call& call) {
  auto* stream = new InferStream(&peer, &call);
  if (call.timeout().has_value()) stream->deadline_ns = deadline_after(now_, call.timeout()->count());
  call.user = static_cast<CallState*>(stream);
  streams_.push_back(stream);
}

void Pipeline::receive(Peer& peer, wire::Call& call, wire::Message&& message) {
  auto* state = static_cast<CallState*>(call.user);
  Request* request = nullptr;
  if (state->kind == CallState::Kind::infer) {
    request = static_cast<Request*>(state);
  } else {
    request = make();
    request->peer = &peer;
    request->received_ns = now_;
    static_cast<InferStream*>(state)->admit(*request);
  }
  ++decoded_;
  ++under_way_;
  request->message = std::move(message);

  // decode
  const Status decoded = wire::decode(request->message.bytes.view(), request->infer);
  // pick: what cannot be decoded is counted too, where it says whom it was for
  Answer refusal;
  const TargetPtr* target = pick(*request, &call, refusal);
  if (!decoded.ok()) {
    if (target != nullptr) worker_.observer().answered(*target, decoded.code(), request->unit);
    refuse(request, decoded.code(), decoded.message());
    return;
  }
  if (target == nullptr) {
    refuse(request, refusal.code, std::move(refusal.message));
    return;
  }
  if (prepare(*request, *target)) {
    add(request, *target);
  } else {
    worker_.observer().answered(*target, request->answer.code, request->unit);
    send(*request);
    sent_.push_back(request);
  }
}

// --- pick ---

const Pipeline::TargetPtr* Pipeline::pick(Request& request, const wire::Call* call, Answer& refusal) {
  if (shared_.draining.load(std::memory_order_relaxed)) {
    refusal = {Code::kUnavailable, kDraining, {}};
    return nullptr;
  }
  const std::string_view model = request.infer.model_name;
  const std::string_view version = request.infer.model_version;
  const Route* route = table_ == nullptr ? nullptr : table_->find(model);
  const TargetPtr* target = nullptr;
  if (route != nullptr && version.empty()) {
    const bool drawn = route->arms.size() > 1;
    Picker picker{request.infer.key.value_or(call->key()), 0, 0};
    std::uint64_t draw = 0;
    if (drawn || (!picker.key.empty() && shared_.sealing.key() != nullptr)) {
      picker.random = random_();
      picker.unix_seconds = time(nullptr);
      draw = route->draw(picker);
    }
    const auto bits = static_cast<std::uint32_t>(draw & kKeyBitsMask);
    if (!picker.key.empty()) request.key_bits = bits;
    if (picker.key.empty() && drawn) request.row_bits = bits | 1u;
    if (drawn) request.unit = route->unit(picker, draw);
    target = &route->pick(draw);
  } else if (route != nullptr) {
    target = route->find(version);
  }
  if (target == nullptr) {
    const bool waiting = shared_.waiting && shared_.waiting(model, version);
    refusal.code = waiting ? Code::kUnavailable : Code::kNotFound;
    refusal.message =
        waiting ? described(model, version) + " is not ready yet" : "unknown " + described(model, version);
  }
  return target;
}

// Fits the request to its model. False: its answer says why not.
bool Pipeline::prepare(Request& request, const TargetPtr& target) {
  const wire::InferRequest& infer = request.infer;
  const Refusal refusal = fit(request, *target->model, shared_.sealing.key() != nullptr);
  if (!refusal.status.ok()) {
    worker_.observer().refused(target, refusal);
    request.answer = {refusal.status.code(), refusal.status.message(), {}};
    return false;
  }
  if (infer.timeout_us.has_value() && *infer.timeout_us > 0) {
    constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
    const std::int64_t wait = *infer.timeout_us > most / 1000 ? most : *infer.timeout_us * 1000;
    const std::int64_t own = deadline_after(request.received_ns, wait);
    if (own != 0) request.deadline_ns = request.deadline_ns == 0 ? own : std::min(request.deadline_ns, own);
  }
  if (request.deadline_ns != 0 && now_ >= request.deadline_ns) {
    request.answer = {Code::kDeadlineExceeded,
                      "the deadline passed before " + described(infer.model_name, {}) + " could run",
                      {}};
    return false;
  }
  return true;
}

// --- add ---

void Pipeline::add(Request* request, const TargetPtr& target) {
  const std::int64_t most = target->model->inline_rows();
  if (most > 0 && request->rows <= most && request->message.bytes.size() <= kMaxInlineBytes) {
    add_inline(request, target, most);
    return;
  }
  for (PoolShare& share : for_pools_) {
    if (share.target != target) continue;
    share.requests.push_back(request);
    return;
  }
  for_pools_.push_back({target, {request}});
}

void Pipeline::add_inline(Request* request, const TargetPtr& target, std::int64_t most) {
  Batch& batch = forming_[target->index];
  const ModelConfig& config = target->model->config();
  const std::int64_t limit = std::min(most, config.max_batch);
  if (!batch.requests.empty() && (!config.batchable || batch.rows + request->rows > limit ||
                                  !joins(*batch.requests.front(), *request))) {
    close(batch);
  }
  if (batch.requests.empty()) {
    batch.target = target;
    batch.close_at_ns = config.max_queue_delay_us == 0 ? 0 : now_ + config.max_queue_delay_us * 1000;
    active_.push_back(target->index);
  }
  batch.requests.push_back(request);
  batch.rows += request->rows;
  if (batch.rows >= limit) batch.close_at_ns = 0;
}

void Pipeline::close(Batch& batch) {
  std::erase(active_, batch.target->index);
  ready_.push_back(std::move(batch));
  batch = {};
}

void Pipeline::refresh() {
  const RouteTable* table = shared_.routes.read(shard_);
  const std::uint64_t generation = table == nullptr ? 0 : table->generation;
  if (generation == generation_) return;
  while (!active_.empty()) close(forming_[active_.back()]);
  table_ = table;
  generation_ = generation;
  forming_.clear();
  forming_.resize(table->targets.size());
}

// --- run ---

void Pipeline::run_batches() {
  expire_waiting();
  odd_turn_ = !odd_turn_;
  for (std::size_t i = active_.size(); i-- > 0;) {
    Batch& batch = forming_[active_[i]];
    if (batch.close_at_ns <= now_) close(batch);
  }
  // Neither arm is always the one that waits for the other.
  if (odd_turn_) std::reverse(ready_.begin(), ready_.end());
  for (std::size_t i = 0; i < ready_.size(); ++i) run(ready_[i]);
  ready_.clear();
  hand_to_pools();
  resume_streams();
}

void Pipeline::run(Batch& batch) {
  Lane& lane = worker_.lane(batch.target->model);
  if (worker_.busy(lane)) {
    flush_();
    observe();
  }
  const std::vector<Request*> all = batch.requests;
  const std::int64_t start = monotonic_ns();
  const std::int64_t cpu = thread_cpu_ns();
  worker_.run(batch, lane);
  // Wall time may be another process's fault; the system call that tells is made only where there is
  // something to tell.
  const std::int64_t taken = monotonic_ns() - start;
  batch.target->model->saw_run(taken <= kInlineBudgetNs ? taken : thread_cpu_ns() - cpu, batch.rows);
  for (Request* request : all) send(*request);
  sent_.insert(sent_.end(), all.begin(), all.end());
}

// --- send ---

void Pipeline::refuse(Request* request, Code code, std::string message) {
  request->answer.code = code;
  request->answer.message = std::move(message);
  send(*request);
  sent_.push_back(request);
}

void Pipeline::send(Request& request) {
  --under_way_;
  Answer& answer = request.answer;
  if (InferStream* stream = request.stream) {
    if (answer.code == Code::kDeadlineExceeded && stream->call != nullptr && !stream->call->done()) {
      stream->peer->grpc().fail(*stream->call, answer.code, answer.message);
      stream->peer->mark_dirty();
    }
    wire::Buffer framed =
        answer.code == Code::kOk
            ? std::move(answer.framed)
            : wire::encode_stream_error(answer.message, request.infer.id.empty()
                                                            ? wire::find_id(request.message.bytes.view())
                                                            : request.infer.id);
    if (stream->deliver(request.sequence, std::move(framed))) {
      std::erase(streams_, stream);
      std::erase(to_resume_, stream);
      delete stream;
    } else if (stream->paused && stream->in_flight() < InferStream::kMaxInFlight) {
      stream->paused = false;
      to_resume_.push_back(stream);
    }
    return;
  }
  if (request.call == nullptr) return;
  wire::Call& call = *request.call;
  call.user = nullptr;  // the request outlives the call
  request.call = nullptr;
  if (answer.code == Code::kOk) {
    request.peer->grpc().finish(call, std::move(answer.framed));
  } else {
    request.peer->grpc().fail(call, answer.code, answer.message);
  }
  request.peer->mark_dirty();
}

// A stream's next message may arrive within `resume`; so not from the middle of a batch.
void Pipeline::resume_streams() {
  while (!to_resume_.empty()) {
    InferStream* stream = to_resume_.back();
    to_resume_.pop_back();
    if (stream->call != nullptr && !stream->call->done()) stream->peer->grpc().resume(*stream->call);
  }
}

// --- observe ---

void Pipeline::observe() {
  worker_.observe();
  for (Request* request : sent_) recycle(request);
  sent_.clear();
}

std::int64_t Pipeline::next_due_ns() const {
  std::int64_t soonest = 0;
  const auto due = [&](std::int64_t at) { soonest = soonest == 0 ? at : std::min(soonest, at); };
  for (const std::uint32_t index : active_) due(forming_[index].close_at_ns);
  for (const Deadline& deadline : deadlines_) due(deadline.at_ns);
  return soonest;
}

Request* Pipeline::make() {
  if (free_.empty()) {
    all_.push_back(std::make_unique<Request>());
    free_.push_back(all_.back().get());
    all_.back()->shard = shard_;
    all_.back()->slot = all_.size() - 1;
  }
  Request* request = free_.back();
  free_.pop_back();
  unused_ = std::min(unused_, free_.size());
  return request;
}

// Frees requests that nobody needed since the last call: a flood must not decide for ever how many there are.
void Pipeline::trim() {
  for (; unused_ != 0; --unused_) {
    const std::size_t slot = free_.back()->slot;
    free_.pop_back();
    all_[slot] = std::move(all_.back());
    all_.pop_back();
    if (slot != all_.size()) all_[slot]->slot = slot;
  }
  unused_ = free_.size();
}

void Pipeline::recycle(Request* request) {
  request->reset();
  free_.push_back(request);
}

}  // namespace kedge::engine
