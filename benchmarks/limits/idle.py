"""A client that keeps connections open and asks nothing: python -m benchmarks.limits.idle HOST:PORT COUNT STREAMS.

Each connection greets, reads the server's settings and, where STREAMS is not 0, begins that many requests without
sending their messages. Says how many were refused, holds the rest until its standard input ends.
"""

from __future__ import annotations

import resource
import sys
from typing import TYPE_CHECKING

from benchmarks.load.hostile import END_HEADERS, HEADERS, connect, frame, headers

if TYPE_CHECKING:
    import socket

ACKNOWLEDGED = frame(4, 1, 0)


def main() -> None:
    address, count, streams = sys.argv[1:]
    host, _, port = address.rpartition(":")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    begun = b"".join(frame(HEADERS, END_HEADERS, 2 * number + 1, headers()) for number in range(int(streams)))
    held = [_open((host, int(port)), ACKNOWLEDGED + begun) for _ in range(int(count))]
    sys.stdout.write(f"{held.count(None)}\n")
    sys.stdout.flush()
    sys.stdin.read()


def _open(target: tuple[str, int], said: bytes) -> socket.socket | None:
    """A connection that the server has answered, or None if it ended it."""
    try:
        connection = connect(target)
        if not connection.recv(4096):
            return None
        connection.sendall(said)
    except OSError:
        return None
    return connection


if __name__ == "__main__":
    main()
