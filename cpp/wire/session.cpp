#include "wire/session.hpp"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>

#include "wire/memory.hpp"
#include "wire/session_callbacks.hpp"

namespace kedge::wire {

namespace {

constexpr std::string_view client_preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
constexpr std::string_view not_http2 =
    "HTTP/1.1 505 HTTP Version Not Supported\r\ncontent-type: text/plain\r\ncontent-length: 39\r\n"
    "connection: close\r\n\r\nThis port speaks gRPC over HTTP/2 only\n";

// nghttp2 fails these calls only for want of memory; there is no path that could go on.
void must(int code) {
  if (code != 0) std::abort();
}

struct OptionDeleter {
  void operator()(nghttp2_option* option) const { nghttp2_option_del(option); }
};

std::unique_ptr<nghttp2_option, OptionDeleter> make_options() {
  nghttp2_option* option = nullptr;
  must(nghttp2_option_new(&option));
  nghttp2_option_set_no_auto_window_update(option, 1);
  nghttp2_option_set_no_closed_streams(option, 1);
  nghttp2_option_set_max_outbound_ack(option, limits::max_outbound_acks);
  nghttp2_option_set_max_settings(option, limits::max_settings_entries);
  nghttp2_option_set_max_continuations(option, limits::max_continuations);
  nghttp2_option_set_stream_reset_rate_limit(option, limits::stream_reset_burst,
                                             limits::stream_reset_per_second);
  nghttp2_option_set_max_deflate_dynamic_table_size(option, limits::header_table_bytes);
  return std::unique_ptr<nghttp2_option, OptionDeleter>(option);
}

// The library copies what it is given here.
nghttp2_mem* memory() {
  static nghttp2_mem functions = {
      nullptr,
      [](std::size_t bytes, void*) { return allocate(bytes); },
      [](void* block, void*) { release(block); },
      [](std::size_t count, std::size_t size, void*) {
        void* const block = size != 0 && count > SIZE_MAX / size ? nullptr : allocate(count * size);
        if (block != nullptr) std::memset(block, 0, count * size);
        return block;
      },
      [](void* block, std::size_t bytes, void*) { return reallocate(block, bytes); },
  };
  return &functions;
}

constexpr std::size_t max_headers = 8;
using NvArray = std::array<nghttp2_nv, max_headers>;

std::size_t to_nv(std::span<const Header> headers, NvArray& to) {
  const std::size_t count = std::min(headers.size(), max_headers);
  for (std::size_t i = 0; i < count; ++i) {
    const Header& header = headers[i];
    // Copied ones are error texts: in the HPACK table they would push out what every answer shares.
    const int flags = header.copied ? NGHTTP2_NV_FLAG_NO_INDEX
                                    : NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE;
    // nghttp2_nv has no const form; the library only reads.
    to[i] = {reinterpret_cast<std::uint8_t*>(const_cast<char*>(header.name.data())),
             reinterpret_cast<std::uint8_t*>(const_cast<char*>(header.value.data())), header.name.size(),
             header.value.size(), static_cast<std::uint8_t>(flags)};
  }
  return count;
}

}  // namespace

Session::Session(StreamEvents& events, const SessionOptions& options)
    : events_(events),
      max_outbound_frames_(options.max_concurrent_streams * limits::max_outbound_frames_per_stream +
                           limits::stream_reset_burst) {
  must(nghttp2_session_server_new3(&session_, SessionCallbacks::table(), this, make_options().get(),
                                   memory()));
  const std::array<nghttp2_settings_entry, 6> settings = {{
      {NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, limits::header_table_bytes},
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, options.max_concurrent_streams},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, static_cast<std::uint32_t>(limits::stream_window_bytes)},
      {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, limits::max_frame_bytes},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, limits::max_header_list_bytes},
      // Answers leave in the order they are ready; a priority tree is only there to be abused.
      {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
  }};
  must(nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), settings.size()));
  must(
      nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, limits::connection_window_bytes));
}

Session::~Session() {
  nghttp2_session_del(session_);
  for (Stream* stream : streams_) delete stream;
}

bool Session::check_preface(Bytes bytes) {
  while (preface_matched_ < client_preface.size() && !bytes.empty()) {
    const auto expected = static_cast<std::uint8_t>(client_preface[preface_matched_]);
    if (bytes.front() != expected) {
      // A request line begins with a capital letter; anything else (a TLS hello, noise) would not read the
      // answer.
      http1_ = preface_matched_ > 0 || (bytes.front() >= 'A' && bytes.front() <= 'Z');
      failed_ = true;
      return false;
    }
    ++preface_matched_;
    bytes = bytes.subspan(1);
  }
  return true;
}

bool Session::feed(Bytes bytes) {
  if (failed_) return false;
  if (preface_matched_ < client_preface.size() && !check_preface(bytes)) return false;
  const ssize_t used = nghttp2_session_mem_recv(session_, bytes.data(), bytes.size());
  if (used < 0) {
    // The library has queued a GOAWAY where the protocol asks for one; BAD_CLIENT_MAGIC and floods have none.
    failed_ = true;
    return false;
  }
  if (nghttp2_session_get_outbound_queue_size(session_) > max_outbound_frames_) failed_ = true;
  return !over();
}

std::size_t Session::queued_bytes() const {
  return nghttp2_session_get_outbound_queue_size(session_) * limits::outbound_frame_bytes;
}

bool Session::over() const {
  if (failed_) return true;
  return nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0;
}

void Session::pull(Output& out) {
  if (http1_) {
    out.append(as_bytes(not_http2));
    http1_ = false;
    return;
  }
  if (failed_) return;
  if (preface_matched_ < client_preface.size())
    return;  // whoever has not proved to speak HTTP/2 gets nothing
  out_ = &out;
  while (out.size() < limits::output_high_water_bytes) {
    const std::uint8_t* data = nullptr;
    const ssize_t size = nghttp2_session_mem_send(session_, &data);
    if (size < 0) failed_ = true;
    if (size <= 0) break;
    out.append({data, static_cast<std::size_t>(size)});
  }
  out_ = nullptr;
}

void Session::taken(Stream& stream, std::size_t count) {
  taken_from_connection(count);
  taken_from_stream(stream, count);
}

void Session::taken_from_connection(std::size_t count) {
  if (nghttp2_session_consume_connection(session_, count) != 0) failed_ = true;
}

void Session::taken_from_stream(Stream& stream, std::size_t count) {
  // A stream whose peer has finished needs no window.
  if (!stream.remote_ended_ && nghttp2_session_consume_stream(session_, stream.id_, count) != 0)
    failed_ = true;
}

void Session::respond(Stream& stream, std::span<const Header> headers, bool end) {
  if (stream.responded_) return;
  stream.responded_ = true;
  stream.finished_ = end;
  NvArray nv;
  const std::size_t count = to_nv(headers, nv);
  nghttp2_data_provider provider = {};
  provider.source.ptr = &stream;
  provider.read_callback = SessionCallbacks::read_body;
  if (nghttp2_submit_response(session_, stream.id_, nv.data(), count, end ? nullptr : &provider) != 0)
    failed_ = true;
}

void Session::write(Stream& stream, Buffer&& piece) {
  if (!stream.responded_ || stream.finished_ || piece.empty()) return;
  stream.unsent_ += piece.size();
  // For a reader that never catches up; rarely, so that moving the rest down costs little a piece.
  if (stream.next_ != 0 && 2 * stream.next_ >= stream.later_.size()) {
    stream.later_.erase(stream.later_.begin(),
                        stream.later_.begin() + static_cast<std::ptrdiff_t>(stream.next_));
    stream.next_ = 0;
  }
  Stream::Piece& added = stream.piece_.rest().empty() ? stream.piece_ : stream.later_.emplace_back();
  if (piece.size() >= limits::send_by_reference_bytes) {
    added.shared = std::make_shared<const Buffer>(std::move(piece));
  } else {
    added.own = std::move(piece);
  }
  resume(stream);
}

void Session::finish(Stream& stream, std::span<const Header> trailers) {
  if (!stream.responded_ || stream.finished_) return;
  stream.finished_ = true;
  stream.trailer_count_ = std::min(trailers.size(), max_trailers);
  std::copy_n(trailers.begin(), stream.trailer_count_, stream.trailers_.begin());
  // Sent when the body is; by then a copied text may be gone.
  std::size_t total = 0;
  for (const Header& trailer : trailers) total += trailer.copied ? trailer.value.size() : 0;
  stream.trailer_text_.reserve(total);
  for (Header& trailer : stream.trailers_) {
    if (!trailer.copied) continue;
    const std::size_t start = stream.trailer_text_.size();
    stream.trailer_text_.append(as_bytes(trailer.value));
    trailer.value = as_text(stream.trailer_text_.view()).substr(start);
  }
  resume(stream);
}

void Session::resume(Stream& stream) {
  if (!stream.deferred_) return;
  stream.deferred_ = false;
  if (nghttp2_session_resume_data(session_, stream.id_) != 0) failed_ = true;
}

void Session::reset(Stream& stream, H2Error error) {
  if (nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.id_, static_cast<std::uint32_t>(error)) !=
      0) {
    failed_ = true;
  }
}

bool Session::submit_trailers(nghttp2_session* session, std::int32_t id, std::span<const Header> trailers) {
  NvArray nv;
  const std::size_t count = to_nv(trailers, nv);
  return nghttp2_submit_trailer(session, id, nv.data(), count) == 0;
}

Stream* Session::find(std::int32_t id) const {
  return static_cast<Stream*>(nghttp2_session_get_stream_user_data(session_, id));
}

void Session::announce_shutdown() {
  if (nghttp2_submit_shutdown_notice(session_) != 0) failed_ = true;
}

void Session::shutdown() {
  if (preface_matched_ < client_preface.size()) {
    failed_ = true;
    return;
  }
  const std::int32_t last = nghttp2_session_get_last_proc_stream_id(session_);
  if (nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, nullptr, 0) != 0)
    failed_ = true;
}

void Session::terminate(H2Error error) {
  if (nghttp2_session_terminate_session(session_, static_cast<std::uint32_t>(error)) != 0) failed_ = true;
}

void Session::count_control_frame() {
  if (++control_frames_ == limits::max_control_frames) terminate(H2Error::enhance_your_calm);
}

void Session::abandon() {
  failed_ = true;
  std::vector<Stream*> streams = std::move(streams_);
  streams_.clear();
  opening_ = nullptr;
  for (Stream* stream : streams) {
    nghttp2_session_set_stream_user_data(session_, stream->id_, nullptr);
    events_.closed(*stream, H2Error::cancel);
    delete stream;
  }
}

}  // namespace kedge::wire
