"""HTTP/2 frames as clients send them that no library would send."""

from __future__ import annotations

import socket
import struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, WINDOW_UPDATE = 0, 1, 3, 4, 8
END_STREAM, END_HEADERS = 1, 4
FRAME: Final = 16_384
"""Bytes of a DATA frame."""
_WINDOW_SETTING: Final = 4


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def begin(stream: int, method: str = "ModelInfer", **more: str) -> bytes:
    """The headers of a call, as literals without index and without Huffman code."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": f"/inference.GRPCInferenceService/{method}",
        ":authority": "localhost",
        "content-type": "application/grpc",
        "te": "trailers",
        **more,
    }
    block = b"".join(b"\0" + _text(name) + _text(value) for name, value in fields.items())
    return frame(HEADERS, END_HEADERS, stream, block)


def data(stream: int, payload: bytes, *, end: bool = False) -> bytes:
    """DATA frames of at most `FRAME` bytes."""
    pieces = [payload[at : at + FRAME] for at in range(0, len(payload), FRAME)]
    flags = [0] * (len(pieces) - 1) + [END_STREAM if end else 0]
    return b"".join(frame(DATA, flag, stream, piece) for flag, piece in zip(flags, pieces, strict=True))


def message(payload: bytes, *, declared: int | None = None) -> bytes:
    """A gRPC message; `declared` is the length its prefix lies."""
    return b"\0" + struct.pack(">I", len(payload) if declared is None else declared) + payload


def connect(address: str, *, window: int = 65_535, buffer: int | None = None) -> socket.socket:
    """A connection that has said its preface and settings.

    Args:
        window: how much of each answer it is ready to take.
        buffer: bytes of its socket's receive buffer.
    """
    made = socket.socket()
    if buffer is not None:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    made.settimeout(10)
    host, _, port = address.rpartition(":")
    made.connect((host, int(port)))
    made.sendall(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", _WINDOW_SETTING, window)))
    return made


def _text(value: str) -> bytes:
    """A string literal of HPACK (RFC 7541, section 5.2), of up to 16,509 bytes."""
    size = len(value)
    if size < 127:
        return bytes((size,)) + value.encode()
    rest = size - 127
    length = bytes((127,)) + (bytes((rest,)) if rest < 128 else bytes((rest % 128 + 128, rest // 128)))
    return length + value.encode()
