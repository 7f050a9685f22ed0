"""What a server without room for a connection does with it, and says."""

from __future__ import annotations

import resource
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from kedge_testing import h2_frames
from kedge_testing.serving import eventually

from kedge.kernel.select import select
from kedge.plane.contract import Limits

pytest.importorskip("kedge._dataplane", reason="this build has no native plane")

from kedge.plane.native import NativePlane

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def address() -> Iterator[tuple[str, int]]:
    """Of a plane that takes two connections."""
    plane = NativePlane(select("native"), isolate=False)
    plane.configure(limits=Limits(max_connections=2))
    host, _, port = plane.start("127.0.0.1:0").rpartition(":")
    yield host, int(port)
    plane.stop()


def greet(connection: socket.socket) -> bytes:
    """What the server says first: its settings, or nothing where it ends the connection."""
    connection.settimeout(20)
    try:
        connection.sendall(h2_frames.PREFACE)
        return connection.recv(64)
    except ConnectionError:
        return b""


def test_one_too_many_is_turned_away_and_the_log_says_so(
    address: tuple[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_connection(address) as first, socket.create_connection(address) as second:
        assert greet(first)
        assert greet(second)
        for _ in range(3):
            with socket.create_connection(address) as third:
                assert not greet(third)
        eventually(lambda: bool(caplog.messages))
    assert caplog.messages == [
        "data port: connections turned away: 1, because 2 are open, the most allowed (--max-connections)"
    ]

    def taken() -> bool:
        with socket.create_connection(address) as again:
            return bool(greet(again))

    eventually(taken)


def test_without_file_descriptors_a_connection_waits(
    address: tuple[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as waiting:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            waiting.connect(address)
            eventually(lambda: bool(caplog.messages))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert caplog.messages == [
            "data port: connections wait: this process can open no more files; raise its limit (ulimit -n)"
        ]
        assert greet(waiting)
