"""As much of HTTP/2 (RFC 9113) as a client needs to ask and be answered over a socket, and to misbehave."""

from __future__ import annotations

import socket
import ssl
import struct
from typing import TYPE_CHECKING, Final, Self

from kedge_testing.soak.world import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kedge_testing.soak.life import Life

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4
INITIAL_WINDOW_SIZE: Final = 4
MAX_FRAME: Final = 16384


class ClosedError(Exception):
    """The server closed the connection."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def headers(path: str) -> bytes:
    """The header block of a gRPC request: literals without indexing, without Huffman coding (RFC 7541, 6.2.2)."""
    fields = {
        ":method": "POST", ":scheme": "http", ":path": path, ":authority": "localhost", "te": "trailers",
        "content-type": "application/grpc",
    }  # fmt: skip
    return b"".join(
        b"\0" + bytes([len(name)]) + name.encode() + bytes([len(text)]) + text.encode() for name, text in fields.items()
    )


def connected(life: Life) -> socket.socket:
    """A socket to the data port, with TLS where the server has it."""
    host, _, port = life.grpc.rpartition(":")
    plain = socket.create_connection((host, int(port)), timeout=PATIENCE)
    if life.authority is None:
        return plain
    context = ssl.create_default_context(cadata=life.authority.pem.decode())
    context.set_alpn_protocols(["h2"])
    return context.wrap_socket(plain, server_hostname="localhost")


class Connection:
    """A connection that has said hello. A context manager.

    Args:
        life: whose data port.
        window: bytes of an answer that the server may send before it is told to go on.
    """

    def __init__(self, life: Life, window: int = 1 << 20) -> None:
        self.socket = connected(life)
        self._pending = b""
        self._next = 1
        settings = struct.pack(">HI", INITIAL_WINDOW_SIZE, window)
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0, settings))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def ask(self, path: str, message: bytes, cut: int = 0, *, whole: bool = True) -> int:
        """Send a request; returns its stream.

        Args:
            cut: the first piece that is sent has so many bytes, whatever frame that is in; 0: all at once.
            whole: False leaves out the last byte of the message, and does not end the stream.
        """
        stream, self._next = self._next, self._next + 2
        body = b"\0" + struct.pack(">I", len(message)) + message
        pieces = [body[at : at + MAX_FRAME] for at in range(0, len(body), MAX_FRAME)]
        sent = frame(HEADERS, END_HEADERS, stream, headers(path))
        for number, piece in enumerate(pieces, 1):
            last = number == len(pieces)
            sent += frame(DATA, END_STREAM * (last and whole), stream, piece if whole or not last else piece[:-1])
        self.socket.sendall(sent[:cut])
        self.socket.sendall(sent[cut:])
        return stream

    def reset(self, stream: int) -> None:
        """Cancel a request."""
        self.socket.sendall(frame(RST_STREAM, 0, stream, struct.pack(">I", 8)))

    def answers(self, streams: set[int]) -> Iterator[tuple[int, bytes | None]]:
        """Each stream's message once it has ended, None where it ended without one.

        Raises:
            ClosedError: the connection ended before.
            AssertionError: a stream was answered twice, or another one than asked.
        """
        open_, body = set(streams), dict.fromkeys(streams, b"")
        while open_:
            kind, flags, stream, payload = self._frame()
            if kind == SETTINGS and not flags & ACK:
                self.socket.sendall(frame(SETTINGS, ACK, 0))
            elif kind == PING and not flags & ACK:
                self.socket.sendall(frame(PING, ACK, 0, payload))
            elif kind in (DATA, HEADERS, RST_STREAM):
                assert stream in open_, f"frame {kind} on stream {stream}, which is not waited for"
                if kind == DATA:
                    body[stream] += payload
                    if payload:
                        self.socket.sendall(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", len(payload))))
                if flags & END_STREAM or kind == RST_STREAM:
                    open_.discard(stream)
                    yield stream, _message(body[stream]) if kind != RST_STREAM else None

    def _frame(self) -> tuple[int, int, int, bytes]:
        head = self._read(9)
        kind, flags, stream = struct.unpack(">BBI", head[3:])
        return kind, flags, stream, self._read(int.from_bytes(head[:3], "big"))

    def _read(self, size: int) -> bytes:
        while len(self._pending) < size:
            try:
                data = self.socket.recv(65536)
            except OSError as error:
                raise ClosedError(str(error)) from error
            if not data:
                raise ClosedError("end of the connection")
            self._pending += data
        taken, self._pending = self._pending[:size], self._pending[size:]
        return taken


def _message(body: bytes) -> bytes | None:
    """The one message of an answer; None without one."""
    if not body:
        return None
    size = int.from_bytes(body[1:5], "big")
    assert len(body) == 5 + size, f"a message of {size} bytes in {len(body) - 5}: more than one answer"
    return body[5:]
