#include "peer.hpp"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <stdexcept>

namespace kedge::load::test {

namespace {

std::string field(int number, std::string_view content) {
  std::string bytes(1, static_cast<char>(number << 3 | 2));
  bytes += static_cast<char>(content.size());  // shorter than 128
  return bytes += content;
}

std::string parameter(std::string_view key, std::string_view value) {
  return field(4, field(1, key) + field(2, field(3, value)));
}

nghttp2_nv header(std::string_view name, std::string_view value) {
  return {reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())),
          reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(), 0};
}

ssize_t read_body(nghttp2_session* session, std::int32_t stream, std::uint8_t* to, std::size_t length,
                  std::uint32_t* flags, nghttp2_data_source* source, void*) {
  auto* const body = static_cast<ServerEnd::Body*>(source->ptr);
  const std::size_t size = std::min(length, body->bytes.size() - body->sent);
  std::memcpy(to, body->bytes.data() + body->sent, size);
  body->sent += size;
  if (body->sent == body->bytes.size()) {
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (body->status >= 0) {
      *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
      const std::string status = std::to_string(body->status);
      const nghttp2_nv trailer = header("grpc-status", status);
      nghttp2_submit_trailer(session, stream, &trailer, 1);
    }
  }
  return static_cast<ssize_t>(size);
}

}  // namespace

std::string answer_message(std::string_view id, std::string_view version, std::string_view bundle,
                           std::string_view token) {
  std::string message = field(1, "m") + field(2, version) + field(3, id);
  if (!bundle.empty()) message += parameter("kedge_bundle", bundle);
  if (!token.empty()) message += parameter("kedge_prediction_id", token);
  return message + field(6, std::string(8, '\0'));
}

std::string framed(std::string_view message) {
  std::string bytes(5, '\0');
  for (std::size_t at = 0; at < 4; ++at) bytes[4 - at] = static_cast<char>(message.size() >> (8 * at));
  return bytes += message;
}

ServerEnd::ServerEnd() {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
  nghttp2_session_server_new(&session_, callbacks, this);
  nghttp2_session_callbacks_del(callbacks);
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, nullptr, 0);
}

ServerEnd::~ServerEnd() { nghttp2_session_del(session_); }

bool ServerEnd::feed(std::string_view bytes) {
  const auto* const data = reinterpret_cast<const std::uint8_t*>(bytes.data());
  return nghttp2_session_mem_recv(session_, data, bytes.size()) >= 0;
}

std::string ServerEnd::pull() {
  std::string all;
  const std::uint8_t* data = nullptr;
  for (ssize_t size = 1; size > 0;) {
    size = nghttp2_session_mem_send(session_, &data);
    if (size > 0) all.append(reinterpret_cast<const char*>(data), static_cast<std::size_t>(size));
  }
  return all;
}

void ServerEnd::answer(std::int32_t stream, std::string answer_body, int status, const char* http) {
  const std::array<nghttp2_nv, 2> headers = {
      {header(":status", http), header("content-type", "application/grpc")}};
  bodies_.push_back(std::make_unique<Body>(Body{std::move(answer_body), 0, status}));
  const nghttp2_data_provider source = {.source = {.ptr = bodies_.back().get()}, .read_callback = read_body};
  nghttp2_submit_response(session_, stream, headers.data(), headers.size(), &source);
}

int ServerEnd::on_header(nghttp2_session*, const nghttp2_frame*, const std::uint8_t* name,
                         std::size_t name_size, const std::uint8_t* value, std::size_t size, std::uint8_t,
                         void* user) {
  const std::string_view key(reinterpret_cast<const char*>(name), name_size);
  if (key == "grpc-timeout")
    static_cast<ServerEnd*>(user)->timeout.assign(reinterpret_cast<const char*>(value), size);
  return 0;
}

int ServerEnd::on_data(nghttp2_session*, std::uint8_t, std::int32_t, const std::uint8_t* data,
                       std::size_t size, void* user) {
  static_cast<ServerEnd*>(user)->body.append(reinterpret_cast<const char*>(data), size);
  return 0;
}

int ServerEnd::on_frame(nghttp2_session*, const nghttp2_frame* frame, void* user) {
  if (frame->hd.type == NGHTTP2_DATA && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
    static_cast<ServerEnd*>(user)->asked.push_back(frame->hd.stream_id);
  }
  return 0;
}

TcpServer::TcpServer(std::function<void(int fd)> serve) {
  socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (::bind(socket_, reinterpret_cast<const sockaddr*>(&address), size) != 0 || ::listen(socket_, 64) != 0 ||
      ::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("no port on loopback");
  }
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this, serve = std::move(serve)] {
    while (!stopping_) {
      pollfd poll{socket_, POLLIN, 0};
      if (::poll(&poll, 1, 20) != 1) continue;
      const int fd = ::accept4(socket_, nullptr, nullptr, SOCK_CLOEXEC);
      ++accepted_;
      serve(fd);
      ::close(fd);
    }
  });
}

TcpServer::~TcpServer() {
  stopping_ = true;
  thread_.join();
  ::close(socket_);
}

}  // namespace kedge::load::test
