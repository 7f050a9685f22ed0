#include "wire/session_callbacks.hpp"

#include <algorithm>
#include <cstdlib>

namespace kedge::wire {

namespace {

Session& session_of(void* user) { return *static_cast<Session*>(user); }

Stream* stream_of(nghttp2_session* session, std::int32_t id) {
  return static_cast<Stream*>(nghttp2_session_get_stream_user_data(session, id));
}

std::string_view text(const std::uint8_t* data, std::size_t size) { return as_text({data, size}); }

}  // namespace

const nghttp2_session_callbacks* SessionCallbacks::table() {
  static const nghttp2_session_callbacks* const made = [] {
    nghttp2_session_callbacks* callbacks = nullptr;
    if (nghttp2_session_callbacks_new(&callbacks) != 0) std::abort();
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, data_chunk);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, frame_received);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, frame_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, stream_closed);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, send_data);
    return callbacks;
  }();
  return made;
}

int SessionCallbacks::begin_headers(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
  if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
  Session& self = session_of(user);
  Stream* stream = self.events_.open(frame->hd.stream_id).release();
  if (stream == nullptr) {
    self.opening_ = nullptr;
    return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_REFUSED_STREAM);
  }
  stream->index_ = self.streams_.size();
  self.streams_.push_back(stream);
  self.opening_ = stream;
  return nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, stream);
}

int SessionCallbacks::header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name,
                             std::size_t name_size, const std::uint8_t* value, std::size_t value_size,
                             std::uint8_t, void* user) {
  // Trailers of a request mean nothing in gRPC.
  if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
  // A block of headers is never interrupted; its stream may end in the middle of it all the same.
  Session& self = session_of(user);
  if (self.opening_ != nullptr && self.opening_->id() == frame->hd.stream_id) {
    self.events_.header(*self.opening_, text(name, name_size), text(value, value_size));
  }
  return 0;
}

int SessionCallbacks::data_chunk(nghttp2_session* session, std::uint8_t, std::int32_t id,
                                 const std::uint8_t* data, std::size_t size, void* user) {
  Session& self = session_of(user);
  if (Stream* stream = stream_of(session, id)) {
    self.events_.data(*stream, {data, size});
  } else {
    self.taken_from_connection(size);
  }
  return 0;
}

int SessionCallbacks::frame_received(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
  Session& self = session_of(user);
  const bool ends = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  switch (frame->hd.type) {
    case NGHTTP2_HEADERS: {
      Stream* stream = stream_of(session, frame->hd.stream_id);
      if (stream == nullptr) return 0;
      stream->remote_ended_ = ends;
      if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) self.events_.headers_done(*stream);
      if (ends) self.events_.ended(*stream);
      return 0;
    }
    case NGHTTP2_DATA: {
      if (frame->hd.length == 0 && !ends) self.count_control_frame();
      // Padding is not delivered as data, and nghttp2 gives its window back itself.
      Stream* stream = ends ? stream_of(session, frame->hd.stream_id) : nullptr;
      if (stream != nullptr) {
        stream->remote_ended_ = true;
        self.events_.ended(*stream);
      }
      return 0;
    }
    case NGHTTP2_SETTINGS:
      if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) self.ready_ = true;
      self.count_control_frame();
      return 0;
    case NGHTTP2_PING:
    case NGHTTP2_PRIORITY:
    case NGHTTP2_PRIORITY_UPDATE:
      self.count_control_frame();
      return 0;
    default:
      return 0;
  }
}

int SessionCallbacks::frame_sent(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
  if (frame->hd.type != NGHTTP2_HEADERS || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return 0;
  // Answered before the request ended: NO_ERROR tells the client to stop sending (RFC 9113 section 8.1).
  Stream* stream = stream_of(session, frame->hd.stream_id);
  if (stream != nullptr && !stream->remote_ended_) session_of(user).reset(*stream, H2Error::no_error);
  return 0;
}

int SessionCallbacks::stream_closed(nghttp2_session* session, std::int32_t id, std::uint32_t error,
                                    void* user) {
  Session& self = session_of(user);
  Stream* stream = stream_of(session, id);
  if (stream == nullptr) return 0;
  nghttp2_session_set_stream_user_data(session, id, nullptr);
  self.streams_[stream->index_] = self.streams_.back();
  self.streams_[stream->index_]->index_ = stream->index_;
  self.streams_.pop_back();
  if (self.opening_ == stream) self.opening_ = nullptr;
  const std::unique_ptr<Stream> owned(stream);
  self.events_.closed(*stream, static_cast<H2Error>(error));
  return 0;
}

ssize_t SessionCallbacks::read_body(nghttp2_session* session, std::int32_t id, std::uint8_t*,
                                    std::size_t length, std::uint32_t* flags, nghttp2_data_source* source,
                                    void* user) {
  Stream& stream = *static_cast<Stream*>(source->ptr);
  const std::size_t size = std::min(length, stream.unsent_);
  if (size == 0 && !stream.finished_) {
    stream.deferred_ = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  if (size == stream.unsent_ && stream.finished_) {
    *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
    if (!session_of(user).submit_trailers(session, id,
                                          std::span(stream.trailers_).first(stream.trailer_count_)))
      return NGHTTP2_ERR_CALLBACK_FAILURE;
  }
  return static_cast<ssize_t>(size);
}

int SessionCallbacks::send_data(nghttp2_session*, nghttp2_frame*, const std::uint8_t* framehd,
                                std::size_t length, nghttp2_data_source* source, void* user) {
  Stream& stream = *static_cast<Stream*>(source->ptr);
  Output& out = *session_of(user).out_;
  constexpr std::size_t frame_header_bytes = 9;
  out.append({framehd, frame_header_bytes});
  stream.unsent_ -= length;
  while (length > 0) {
    Stream::Piece& piece = stream.piece_;
    const Bytes part = piece.rest().first(std::min(length, piece.rest().size()));
    if (piece.shared && part.size() >= limits::send_by_reference_bytes) {
      out.append_shared(piece.shared, part);
    } else {
      out.append(part);
    }
    length -= part.size();
    piece.sent += part.size();
    if (piece.rest().empty()) {
      piece = {};
      if (stream.next_ < stream.later_.size()) piece = std::move(stream.later_[stream.next_++]);
      if (stream.next_ == stream.later_.size()) {
        stream.later_.clear();
        stream.next_ = 0;
      }
    }
  }
  return out.size() >= limits::output_high_water_bytes ? NGHTTP2_ERR_PAUSE : 0;
}

}  // namespace kedge::wire
