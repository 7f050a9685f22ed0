// What nghttp2 calls back; only Session uses it.
#pragma once

#include <nghttp2/nghttp2.h>

#include "wire/session.hpp"

namespace kedge::wire {

struct SessionCallbacks {
  // One table for all sessions, made once.
  static const nghttp2_session_callbacks* table();

  static int begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user);
  static int header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name,
                    std::size_t name_size, const std::uint8_t* value, std::size_t value_size,
                    std::uint8_t flags, void* user);
  static int data_chunk(nghttp2_session*, std::uint8_t flags, std::int32_t id, const std::uint8_t* data,
                        std::size_t size, void* user);
  static int frame_received(nghttp2_session*, const nghttp2_frame* frame, void* user);
  static int frame_sent(nghttp2_session*, const nghttp2_frame* frame, void* user);
  static int stream_closed(nghttp2_session*, std::int32_t id, std::uint32_t error, void* user);
  static ssize_t read_body(nghttp2_session*, std::int32_t id, std::uint8_t*, std::size_t length,
                           std::uint32_t* flags, nghttp2_data_source* source, void* user);
  static int send_data(nghttp2_session*, nghttp2_frame* frame, const std::uint8_t* framehd,
                       std::size_t length, nghttp2_data_source* source, void* user);
};

}  // namespace kedge::wire
