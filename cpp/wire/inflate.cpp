#include "wire/inflate.hpp"

#include <zlib.h>

#include <algorithm>

#include "base/limits.hpp"

namespace kedge::wire {

namespace {

struct Inflater {
  Inflater() {
    constexpr int gzip_only = 15 + 16;  // zlib's encoding of "32 KiB window, gzip header required"
    ok = inflateInit2(&stream, gzip_only) == Z_OK;
  }
  ~Inflater() {
    if (ok) inflateEnd(&stream);
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  z_stream stream = {};
  bool ok = false;
};

}  // namespace

Result<Buffer> inflate_gzip(Bytes compressed, std::size_t max_bytes, Budget& budget, Reservation& reserved) {
  Inflater inflater;
  if (!inflater.ok) return Status{Code::kInternal, "zlib could not start"};
  z_stream& stream = inflater.stream;
  stream.next_in = const_cast<std::uint8_t*>(compressed.data());  // zlib only reads
  stream.avail_in = static_cast<uInt>(compressed.size());
  const std::size_t before_all = reserved.bytes();
  Buffer out;
  const std::size_t first = std::max(limits::inflate_step_bytes, 4 * compressed.size());
  for (;;) {
    // One byte past the cap is enough to know that it was passed.
    const std::size_t room = std::min(std::max(first, out.size()), max_bytes + 1 - out.size());
    if (!reserved.add(budget, room)) {
      return Status{Code::kResourceExhausted,
                    "too many message bytes in flight; try again later or on another connection"};
    }
    const std::size_t before = out.size();
    stream.next_out = out.extend(room);
    stream.avail_out = static_cast<uInt>(room);
    const int code = inflate(&stream, Z_NO_FLUSH);
    out.resize(before + room - stream.avail_out);
    if (out.size() > max_bytes) {
      return Status{Code::kResourceExhausted,
                    "message larger than max when inflated (limit " + std::to_string(max_bytes) + " bytes)"};
    }
    if (code == Z_STREAM_END) {
      if (stream.avail_in != 0) return Status{Code::kInternal, "bytes follow the gzip stream of a message"};
      reserved.shrink(before_all + out.size());
      return out;
    }
    const bool cut = code == Z_BUF_ERROR || (code == Z_OK && stream.avail_in == 0 && stream.avail_out != 0);
    if (cut) return Status{Code::kInternal, "the gzip stream of a message is cut short"};
    if (code != Z_OK) return Status{Code::kInternal, "the gzip stream of a message is damaged"};
  }
}

}  // namespace kedge::wire
