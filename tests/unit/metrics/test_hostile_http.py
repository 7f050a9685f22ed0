"""The metrics port and whoever connects to it: slow, long, strange and many requests on real sockets."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING

import pytest
from kedge_testing import admins

from kedge.config import Address
from kedge.metrics import server as http

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kedge.rollout.view import View


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> Iterator[View]:
    with admins.listening(tmp_path_factory.mktemp("state") / "state") as port:
        yield port.parts.view


@pytest.fixture(scope="module")
def address(view: View) -> Iterator[tuple[str, int]]:
    server = http.MetricsServer(Address("127.0.0.1", 0), view)
    host, _, port = server.address.rpartition(":")
    yield host, int(port)
    server.stop()


def ask(address: tuple[str, int], data: bytes) -> bytes:
    """Everything that is answered to these bytes, until the server closes; a reset ends the answer."""
    with socket.create_connection(address, timeout=20) as connection:
        answer = b""
        with contextlib.suppress(ConnectionError):
            connection.sendall(data)
            while part := connection.recv(65536):
                answer += part
        return answer


@pytest.mark.parametrize(
    "path",
    ["/../../etc/passwd", "/metrics/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/metrics%00", "*",
     "http://127.0.0.1/etc/passwd"],
)  # fmt: skip
def test_no_path_leads_anywhere_else(address: tuple[str, int], path: str) -> None:
    answer = ask(address, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.0 404 ")
    assert b"root:" not in answer


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH", "<script>"])
def test_no_other_method_does_anything(address: tuple[str, int], method: str) -> None:
    answer = ask(address, f"{method} /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc".encode())
    assert answer.startswith(b"HTTP/1.0 501 ")
    assert b"<script>" not in answer


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /healthz HTTP/1.1\r\n" + b"X: " + b"a" * http.REQUEST_BYTES + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n" + b"X: a\r\n" * http.REQUEST_BYTES + b"\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"\x00" * 100_000,
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\r\n" * 50_000,
    ],
)
def test_requests_that_are_long_or_none_are_never_answered_with_200(address: tuple[str, int], request_: bytes) -> None:
    assert b" 200 " not in ask(address, request_)
    assert b" 200 OK" in ask(address, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")


def test_a_request_that_comes_byte_by_byte_ends_at_its_deadline_and_gives_its_place_back(
    view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each byte comes well within any time-out between bytes: only the whole is bounded."""
    monkeypatch.setattr(http, "REQUEST_SECONDS", 0.3)
    monkeypatch.setattr(http, "MAX_CONNECTIONS", 2)
    server = http.MetricsServer(Address("127.0.0.1", 0), view)
    host, _, port = server.address.rpartition(":")
    try:
        slow = [socket.create_connection((host, int(port)), timeout=20) for _ in range(2)]
        for connection in slow:
            with connection, contextlib.suppress(ConnectionError):
                for byte in b"GET /healthz HTTP/1.1\r\n" + b"X: y\r\n" * 10_000:
                    connection.sendall(bytes([byte]))
                    time.sleep(0.01)
                pytest.fail("it could go on for ever")
        for _ in range(100):
            if b" 200 OK" in ask((host, int(port)), b"GET /healthz HTTP/1.1\r\n\r\n"):
                break
            time.sleep(0.05)
        else:
            pytest.fail("the places of slow connections were not given back")
    finally:
        server.stop()
