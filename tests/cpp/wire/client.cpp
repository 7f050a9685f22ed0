#include "client.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace kedge::wire::test {

struct ClientCallbacks {
  static Client& self(void* user) { return *static_cast<Client*>(user); }

  static int header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name,
                    std::size_t name_size, const std::uint8_t* value, std::size_t value_size, std::uint8_t,
                    void* user) {
    self(user).answers[frame->hd.stream_id].headers.emplace_back(as_text({name, name_size}),
                                                                 as_text({value, value_size}));
    return 0;
  }
  static int data(nghttp2_session*, std::uint8_t, std::int32_t id, const std::uint8_t* bytes,
                  std::size_t size, void* user) {
    self(user).answers[id].body += as_text({bytes, size});
    return 0;
  }
  static int frame(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    Client& client = self(user);
    if (frame->hd.type == NGHTTP2_GOAWAY) {
      client.goaway = frame->goaway.error_code;
      client.goaway_last = frame->goaway.last_stream_id;
    }
    if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) ++client.pongs;
    if (frame->hd.type == NGHTTP2_RST_STREAM) client.answers[frame->hd.stream_id].reset = true;
    const bool carries = frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS;
    if (carries && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
      client.answers[frame->hd.stream_id].ended = true;
    return 0;
  }
  static int closed(nghttp2_session*, std::int32_t id, std::uint32_t error, void* user) {
    self(user).answers[id].closed = error;
    return 0;
  }
  static ssize_t body(nghttp2_session*, std::int32_t id, std::uint8_t* to, std::size_t length,
                      std::uint32_t* flags, nghttp2_data_source*, void* user) {
    Client::Body& body = self(user).bodies_[id];
    const std::size_t size = std::min(length, body.left.size());
    if (size == 0 && !body.end) {
      body.deferred = true;
      return NGHTTP2_ERR_DEFERRED;
    }
    std::memcpy(to, body.left.data(), size);
    body.left.erase(0, size);
    if (body.left.empty() && body.end) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(size);
  }
};

Client::Client(ClientOptions options) {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, ClientCallbacks::header);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, ClientCallbacks::data);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, ClientCallbacks::frame);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, ClientCallbacks::closed);
  nghttp2_option* option = nullptr;
  nghttp2_option_new(&option);
  nghttp2_option_set_no_auto_window_update(option, options.auto_window ? 0 : 1);
  nghttp2_option_set_peer_max_concurrent_streams(option, 100000);
  if (nghttp2_session_client_new2(&session, callbacks, this, option) != 0) std::abort();
  nghttp2_option_del(option);
  nghttp2_session_callbacks_del(callbacks);
  const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, options.window}};
  nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, 1);
}

Client::~Client() { nghttp2_session_del(session); }

std::int32_t Client::request(std::string_view path, std::string body, const Fields& extra, bool end) {
  Fields headers = {{":method", "POST"},         {":scheme", "http"}, {":path", std::string(path)},
                    {":authority", "localhost"}, {"te", "trailers"},  {"content-type", "application/grpc"}};
  headers.insert(headers.end(), extra.begin(), extra.end());
  return raw_request(headers, std::move(body), end);
}

std::int32_t Client::raw_request(const Fields& headers, std::string body, bool end) {
  std::vector<nghttp2_nv> nv;
  for (const auto& [name, value] : headers) {
    nv.push_back({reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())),
                  reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
                  NGHTTP2_NV_FLAG_NONE});
  }
  nghttp2_data_provider provider = {};
  provider.read_callback = ClientCallbacks::body;
  const bool empty = body.empty() && end;
  const std::int32_t id =
      nghttp2_submit_request(session, nullptr, nv.data(), nv.size(), empty ? nullptr : &provider, nullptr);
  bodies_[id] = {std::move(body), end};
  return id;
}

void Client::send(std::int32_t id, std::string body, bool end) {
  Body& to = bodies_[id];
  to.left += body;
  to.end = end;
  if (to.deferred) {
    to.deferred = false;
    nghttp2_session_resume_data(session, id);
  }
}

void Client::reset(std::int32_t id) {
  nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
}

void Client::ping() { nghttp2_submit_ping(session, NGHTTP2_FLAG_NONE, nullptr); }

std::string Client::output() {
  std::string out;
  for (;;) {
    const std::uint8_t* data = nullptr;
    const ssize_t size = nghttp2_session_mem_send(session, &data);
    if (size <= 0) return out;
    out += as_text({data, static_cast<std::size_t>(size)});
  }
}

bool Client::input(std::string_view bytes) {
  const Bytes in = as_bytes(bytes);
  return nghttp2_session_mem_recv(session, in.data(), in.size()) >= 0;
}

std::string framed(std::string_view message, bool compressed) {
  std::string out(1, compressed ? '\1' : '\0');
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(message.size() >> shift & 0xFF);
  return out += message;
}

}  // namespace kedge::wire::test
