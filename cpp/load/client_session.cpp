#include "load/client_session.hpp"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "wire/frame.hpp"
#include "wire/grpc_text.hpp"

namespace kedge::load {

namespace {

constexpr std::size_t max_text_bytes = 256;

template <class Number>
Number number(std::string_view text, Number otherwise) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() ? value : otherwise;
}

nghttp2_nv header(std::string_view name, std::string_view value) {
  return {const_cast<std::uint8_t*>(wire::as_bytes(name).data()),
          const_cast<std::uint8_t*>(wire::as_bytes(value).data()), name.size(), value.size(),
          NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

}  // namespace

struct ClientCallbacks {
  static ClientSession& session_of(void* user) { return *static_cast<ClientSession*>(user); }
  static Exchange* exchange_of(nghttp2_session* session, std::int32_t id) {
    return static_cast<Exchange*>(nghttp2_session_get_stream_user_data(session, id));
  }

  static int on_header(nghttp2_session* session, const nghttp2_frame* frame, const std::uint8_t* name_data,
                       std::size_t name_size, const std::uint8_t* data, std::size_t size, std::uint8_t,
                       void*) {
    Exchange* const exchange = exchange_of(session, frame->hd.stream_id);
    if (exchange == nullptr) return 0;
    const std::string_view name = wire::as_text({name_data, name_size});
    const std::string_view value = wire::as_text({data, size});
    if (name == ":status") {
      exchange->http_status = number<std::uint16_t>(value, 0);
    } else if (name == "grpc-status") {
      exchange->grpc_status = number(value, Exchange::no_status);
    } else if (name == "grpc-message") {
      exchange->text = value.substr(0, max_text_bytes);
    } else if (name == "content-type") {
      exchange->grpc_content = wire::is_grpc_content_type(value);
    }
    return 0;
  }

  static int on_data(nghttp2_session* session, std::uint8_t, std::int32_t id, const std::uint8_t* data,
                     std::size_t size, void* user) {
    ClientSession& self = session_of(user);
    if (Exchange* const exchange = exchange_of(session, id)) self.take_body(*exchange, {data, size});
    return self.why_.empty() ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
  }

  static int on_complaint(nghttp2_session*, int, const char* text, std::size_t size, void* user) {
    std::string& complaint = session_of(user).complaint_;
    if (complaint.empty()) complaint.assign(text, std::min(size, max_text_bytes));
    return 0;
  }

  static int on_frame(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    if (frame->hd.type == NGHTTP2_SETTINGS && (frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) {
      session_of(user).ready_ = true;
    }
    return 0;
  }

  static int on_close(nghttp2_session* session, std::int32_t id, std::uint32_t error, void* user) {
    if (Exchange* const exchange = exchange_of(session, id)) session_of(user).end(*exchange, error);
    return 0;
  }

  static ssize_t read_body(nghttp2_session*, std::int32_t, std::uint8_t* to, std::size_t length,
                           std::uint32_t* flags, nghttp2_data_source* source, void*) {
    Exchange& exchange = *static_cast<Exchange*>(source->ptr);
    const Ask& ask = exchange.ask;
    std::size_t written = 0;
    if (exchange.sent_bytes < ask.prefix_bytes) {
      written = std::min(length, ask.prefix_bytes - exchange.sent_bytes);
      std::memcpy(to, ask.prefix.data() + exchange.sent_bytes, written);
      exchange.sent_bytes += written;
    }
    if (exchange.sent_bytes >= ask.prefix_bytes) {
      const wire::Bytes rest = ask.rest.subspan(exchange.sent_bytes - ask.prefix_bytes);
      const std::size_t more = std::min(length - written, rest.size());
      if (more > 0) std::memcpy(to + written, rest.data(), more);
      exchange.sent_bytes += more;
      written += more;
    }
    if (exchange.sent_bytes == ask.prefix_bytes + ask.rest.size()) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(written);
  }

  static const nghttp2_session_callbacks* table() {
    static const nghttp2_session_callbacks* const made = [] {
      nghttp2_session_callbacks* callbacks = nullptr;
      if (nghttp2_session_callbacks_new(&callbacks) != 0) std::abort();
      nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
      nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
      nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
      nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
      nghttp2_session_callbacks_set_error_callback2(callbacks, on_complaint);
      return callbacks;
    }();
    return made;
  }
};

ClientSession::ClientSession(SessionEvents& events, const RequestHead& head, std::uint32_t streams)
    : events_(events), head_(head), streams_(streams) {
  nghttp2_option* option = nullptr;
  if (nghttp2_option_new(&option) != 0) std::abort();
  nghttp2_option_set_max_continuations(option, limits::max_continuations);
  nghttp2_option_set_max_settings(option, limits::max_settings_entries);
  nghttp2_option_set_max_outbound_ack(option, limits::max_outbound_acks);
  if (nghttp2_session_client_new2(&session_, ClientCallbacks::table(), this, option) != 0) std::abort();
  nghttp2_option_del(option);
  const std::array<nghttp2_settings_entry, 5> settings = {{
      {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits::stream_window_bytes},
      {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, limits::max_frame_bytes},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, limits::max_header_list_bytes},
      {NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, limits::header_table_bytes},
  }};
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), settings.size());
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, limits::connection_window_bytes);
}

ClientSession::~ClientSession() { nghttp2_session_del(session_); }

void ClientSession::fail(std::string why) {
  if (why_.empty()) why_ = std::move(why);
}

std::string ClientSession::goodbye() const {
  return complaint_.empty() ? "it ended the connection" : "what it sends is no HTTP/2: " + complaint_;
}

bool ClientSession::feed(wire::Bytes bytes) {
  if (!why_.empty()) return false;
  const ssize_t taken = nghttp2_session_mem_recv(session_, bytes.data(), bytes.size());
  if (taken < 0)
    fail(std::string("what it sends is no HTTP/2: ") + nghttp2_strerror(static_cast<int>(taken)));
  if (finished()) fail(goodbye());
  return why_.empty();
}

void ClientSession::pull(wire::Buffer& out) {
  while (out.size() < limits::output_high_water_bytes) {
    const std::uint8_t* data = nullptr;
    const ssize_t size = nghttp2_session_mem_send(session_, &data);
    if (size < 0) fail(std::string("the session failed: ") + nghttp2_strerror(static_cast<int>(size)));
    if (size <= 0) break;
    out.append({data, static_cast<std::size_t>(size)});
  }
  if (finished()) fail(goodbye());
}

bool ClientSession::has_room() const {
  const std::uint32_t allowed =
      nghttp2_session_get_remote_settings(session_, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
  return ready_ && open_ < std::min(streams_, allowed) && takes_requests();
}

bool ClientSession::takes_requests() const {
  return why_.empty() && nghttp2_session_check_request_allowed(session_) != 0;
}

bool ClientSession::finished() const {
  return nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0;
}

bool ClientSession::submit(const Ask& ask) {
  if (!has_room()) return false;
  if (idle_.empty()) {
    exchanges_.push_back(std::make_unique<Exchange>());
    idle_.push_back(exchanges_.back().get());
  }
  Exchange& exchange = *idle_.back();
  exchange.ask = ask;
  const std::array<nghttp2_nv, 7> headers = {{
      header(":method", "POST"),
      header(":scheme", head_.scheme),
      header(":path", head_.path),
      header(":authority", head_.authority),
      header("te", "trailers"),
      header("content-type", "application/grpc"),
      header("grpc-timeout", head_.timeout),
  }};
  const nghttp2_data_provider body = {.source = {.ptr = &exchange},
                                      .read_callback = ClientCallbacks::read_body};
  const std::int32_t id = nghttp2_submit_request(
      session_, nullptr, headers.data(), headers.size() - (head_.timeout.empty() ? 1 : 0), &body, &exchange);
  if (id < 0) return false;
  idle_.pop_back();
  exchange.stream = id;
  ++open_;
  return true;
}

void ClientSession::take_body(Exchange& exchange, wire::Bytes bytes) {
  if (bytes.empty() || exchange.broken) return;
  if (exchange.has_message) {
    exchange.broken = true;  // a second message of a unary call
    return;
  }
  if (!exchange.partial.empty() || bytes.size() < wire::frame_prefix_bytes) {
    partial_bytes_ += bytes.size();
    exchange.partial.append(bytes);
    bytes = exchange.partial.view();
    if (partial_bytes_ > limits::max_connection_bytes)
      return fail("its half-sent answers are too large together");
    if (bytes.size() < wire::frame_prefix_bytes) return;
  }
  std::size_t size = 0;
  for (std::size_t at = 1; at < wire::frame_prefix_bytes; ++at) size = size << 8 | bytes[at];
  const bool compressed = bytes[0] != 0;
  if (compressed || size > limits::max_message_bytes || bytes.size() > wire::frame_prefix_bytes + size) {
    exchange.broken = true;
    return;
  }
  if (bytes.size() < wire::frame_prefix_bytes + size) {
    if (exchange.partial.empty()) {
      partial_bytes_ += bytes.size();
      exchange.partial.append(bytes);
    }
    return;
  }
  exchange.has_message = true;
  events_.message(exchange, bytes.subspan(wire::frame_prefix_bytes));
}

void ClientSession::end(Exchange& exchange, std::uint32_t error) {
  constexpr int statuses = 17;
  const bool known = exchange.grpc_status >= 0 && exchange.grpc_status < statuses;
  const bool whole = exchange.grpc_status != 0 || (exchange.has_message && !exchange.broken);
  End end = End::answered;
  if (!why_.empty()) {
    end = End::connection;
  } else if (error == NGHTTP2_REFUSED_STREAM) {
    end = End::refused;
  } else if (error != NGHTTP2_NO_ERROR) {
    end = End::reset;
  } else if (exchange.http_status != 200 || !exchange.grpc_content || !known || !whole) {
    end = End::malformed;
  }
  nghttp2_session_set_stream_user_data(session_, exchange.stream, nullptr);
  events_.closed(exchange, end);
  partial_bytes_ -= exchange.partial.size();
  wire::Buffer kept = std::move(exchange.partial);
  exchange = Exchange{};
  if (kept.capacity() <= limits::first_message_allocation_bytes) {
    kept.clear();
    exchange.partial = std::move(kept);
  }
  idle_.push_back(&exchange);
  --open_;
}

void ClientSession::abandon() {
  fail("it was given up");
  for (const auto& exchange : exchanges_) {
    if (exchange->stream >= 0) end(*exchange, NGHTTP2_CANCEL);
  }
}

}  // namespace kedge::load
