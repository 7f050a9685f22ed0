"""A client that others should not feel: python -m benchmarks.load.hostile KIND HOST:PORT BODY, until it is ended.

- ``garbage``: connections of random bytes, every second one after a good preface, 200 a second.
- ``half``: 100 connections that stop in the middle of a message, and are opened again where the server ends them.
- ``flood``: requests that are reset as soon as they are begun, up to 50,000 a second.
- ``reader``: 50 connections that ask 100 times each and read one byte a second.
- ``nobody``: the flood, sent to a thread of its own that drops it: what the others lose to its processor time alone.

It runs at the lowest priority, so that what others lose is not just the processor that it takes.
"""

from __future__ import annotations

import os
import random
import socket
import struct
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS = 0, 1, 3, 4
END_STREAM, END_HEADERS = 1, 4
WINDOW: Final = 4
"""Number of the setting SETTINGS_INITIAL_WINDOW_SIZE."""
Target = tuple[str, int]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def headers() -> bytes:
    """Of a ModelInfer, as literals without indexing and without Huffman code."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/inference.GRPCInferenceService/ModelInfer",
        ":authority": "localhost",
        "content-type": "application/grpc",
        "te": "trailers",
    }
    parts = [bytes((0, len(name))) + name.encode() + bytes((len(v),)) + v.encode() for name, v in fields.items()]
    return b"".join(parts)


def connect(target: Target, window: int = 65535) -> socket.socket:
    """A connection that has said its preface and settings."""
    connection = socket.create_connection(target, timeout=5)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", WINDOW, window)))
    return connection


def garbage(target: Target, _: bytes) -> None:
    chance = random.Random(1)
    for turn in range(sys.maxsize):
        try:
            with socket.create_connection(target, timeout=5) as connection:
                connection.sendall(PREFACE * (turn % 2) + chance.randbytes(4096))
        except OSError:
            pass  # as it should be
        time.sleep(0.005)


def half(target: Target, body: bytes) -> None:
    begun = frame(HEADERS, END_HEADERS, 1, headers()) + frame(DATA, END_STREAM, 1, body)[: -len(body) // 2]
    _keep(target, 100, begun)


def reader(target: Target, body: bytes) -> None:
    asked = b"".join(
        frame(HEADERS, END_HEADERS, stream, headers()) + frame(DATA, END_STREAM, stream, body)
        for stream in range(1, 201, 2)
    )
    _keep(target, 50, asked)


def _keep(target: Target, connections: int, said: bytes) -> None:
    """Connections that say something and then read one byte a second."""
    held: list[socket.socket | None] = [None] * connections
    while True:
        for place, connection in enumerate(held):
            try:
                if connection is None:
                    connection = held[place] = connect(target, window=1)  # noqa: PLW2901 - it takes its place
                    connection.sendall(said)
                elif not connection.recv(1):
                    held[place] = None
            except OSError:
                held[place] = None
        time.sleep(1.0)


def flood(target: Target, _: bytes) -> None:
    reset = struct.pack(">I", 8)  # CANCEL
    while True:
        try:
            with connect(target) as connection:
                for first in range(1, 2**31 - 2000, 1000):
                    connection.sendall(b"".join(
                        frame(HEADERS, END_HEADERS, stream, headers()) + frame(RESET, 0, stream, reset)
                        for stream in range(first, first + 1000, 2)
                    ))  # fmt: skip
                    time.sleep(0.01)
        except OSError:
            time.sleep(0.001)  # the server has had enough of it: again


def nobody(_: Target, body: bytes) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def drop() -> None:
        connection, _ = listener.accept()
        while connection.recv(65536):
            pass

    threading.Thread(target=drop, daemon=True).start()
    flood(listener.getsockname(), body)


KINDS: Final[dict[str, Callable[[Target, bytes], None]]] = {
    "garbage": garbage,
    "half": half,
    "flood": flood,
    "reader": reader,
    "nobody": nobody,
}


def main() -> None:
    kind, address, body = sys.argv[1:]
    host, _, port = address.rpartition(":")
    os.nice(19)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    KINDS[kind]((host, int(port)), Path(body).read_bytes())


if __name__ == "__main__":
    main()
