// Every fixed bound of the data port. Each comment names what grows, or which attack works, without it.
// Bounds an operator may set (message size, queues, connections, streams) are passed in; these are the
// defaults.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kedge::limits {

// --- HTTP/2 ---

// Stream flood: every open stream holds a Call and its buffers.
inline constexpr std::uint32_t max_concurrent_streams = 1024;
// Header bomb: HPACK turns a few indexed bytes into many; counted as RFC 9113 counts (name + value + 32).
inline constexpr std::uint32_t max_header_list_bytes = 16 * 1024;
// HPACK table held a connection, each way.
inline constexpr std::uint32_t header_table_bytes = 4096;
// CONTINUATION flood (CVE-2024-28182): header blocks that never end.
inline constexpr std::size_t max_continuations = 8;
// SETTINGS flood (CVE-2020-11080): entries in one frame.
inline constexpr std::size_t max_settings_entries = 32;
// PING and SETTINGS flood by a peer that does not read: acknowledgements waiting to be sent.
inline constexpr std::size_t max_outbound_acks = 256;
// Rapid reset (CVE-2023-44487): streams opened and reset; a token bucket. The burst lets a client cancel
// every one of its 1,024 streams four times over, as real deadline storms do.
inline constexpr std::uint64_t stream_reset_burst = 4096;
inline constexpr std::uint64_t stream_reset_per_second = 512;
// Resets and answers that a peer provokes and does not read: frames waiting to be sent, for each stream it
// may have open, beside those of streams it reset; and what one of them holds.
inline constexpr std::size_t max_outbound_frames_per_stream = 4;
inline constexpr std::size_t outbound_frame_bytes = 512;
// PING, SETTINGS, PRIORITY and empty-DATA floods by a peer that does read: such frames between two messages
// (or ticks).
inline constexpr std::uint32_t max_control_frames = 4096;
// Receive windows: how much a peer may send that nobody has taken yet.
inline constexpr std::int32_t stream_window_bytes = 1024 * 1024;
inline constexpr std::int32_t connection_window_bytes = 8 * 1024 * 1024;
// A frame larger than this makes other streams of the connection wait.
inline constexpr std::uint32_t max_frame_bytes = 64 * 1024;
// Output made ahead of the socket, so that a reader of one byte a second holds little.
inline constexpr std::size_t output_high_water_bytes = 512 * 1024;
// A body piece at least this long is sent from where it lies rather than copied (writev against memcpy break
// even).
inline constexpr std::size_t send_by_reference_bytes = 8 * 1024;

// Blocks of memory a shard keeps for its next requests, whoever needed them before.
inline constexpr std::size_t max_spare_bytes = std::size_t{8} * 1024 * 1024;

// --- gRPC ---

// Memory exhaustion by one message, compressed or not.
inline constexpr std::size_t max_message_bytes = std::size_t{64} * 1024 * 1024 + 64 * 1024;
// Memory exhaustion by many clients together: all that a shard holds for them, and what one of them may have
// of it. Counted are connections, streams, messages from their first byte on, and answers until the socket
// has taken them.
inline constexpr std::size_t max_connection_bytes = std::size_t{256} * 1024 * 1024;
inline constexpr std::size_t max_shard_bytes = std::size_t{1024} * 1024 * 1024;
// Thousands of connections, or of streams, that never say anything: the session with its tables; a call with
// its request, whose headers count as well where they are kept.
inline constexpr std::size_t connection_overhead_bytes = std::size_t{48} * 1024;
inline constexpr std::size_t stream_overhead_bytes = 4096;
// What a request that is over keeps for the next: a message of a few kilobytes may name thousands of tensors.
inline constexpr std::size_t spare_request_tensors = 64;
// A million empty messages must cost their sender something: what holding one message reserves besides its
// bytes.
inline constexpr std::size_t message_overhead_bytes = 256;
// What is allocated and reserved for a message of which only the prefix is here; it doubles as bytes really
// arrive, so that lengths that are only declared take nothing from anyone.
inline constexpr std::size_t first_message_allocation_bytes = 4096;
// Gzip bomb: output grows, and is reserved, in steps that begin here and double; max_message_bytes caps it.
inline constexpr std::size_t inflate_step_bytes = 4096;
// grpc-message is a header: an error text that quotes the request must not become a header bomb of our own.
inline constexpr std::size_t max_status_message_bytes = 1024;

// --- Open Inference codec (the Python twins are in kedge/plane/limits.py) ---

// Messages that are all tensor headers.
inline constexpr std::size_t max_tensors = 4096;
// Shapes of millions of ones that cost more to check than to send.
inline constexpr std::size_t max_dimensions = 16;
// Messages that are all map entries.
inline constexpr std::size_t max_parameters = 256;
// Hashing megabytes on the request path.
inline constexpr std::size_t max_key_bytes = 1024;
// Answers that are larger than what the model made.
inline constexpr std::size_t max_id_bytes = 64 * 1024;
// Shapes whose product overflows.
inline constexpr std::int64_t max_elements = std::int64_t{1} << 40;
// Stack or time exhaustion by nested unknown groups; the bound of protobuf's own parsers.
inline constexpr std::size_t max_group_depth = 100;
// Status messages larger than clients take as metadata: characters of a client's own text repeated in an
// error.
inline constexpr std::size_t max_quoted_chars = 128;

// --- TLS and tokens ---

// A handshake that feeds bytes for ever.
inline constexpr std::size_t max_handshake_bytes = 64 * 1024;
// A prediction id in characters; longer ones are refused unread.
inline constexpr std::size_t max_token_chars = 96;

}  // namespace kedge::limits
