"""HTTP on the metrics port: ``/metrics``, ``/healthz`` (the process lives), ``/readyz`` (it takes requests)."""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import socket
import socketserver
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from kedge.errors import ConfigError
from kedge.metrics.collector import Collector
from kedge.metrics.outcomes import OutcomesCollector

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from kedge.config import Address
    from kedge.metrics.outcomes import Labels
    from kedge.rollout.view import View

REQUEST_SECONDS: Final = 5.0
"""From the connection to the end of its request, and again for its answer: slow writers and readers hold threads."""
REQUEST_BYTES: Final = 16 * 1024
"""Of a request line with its headers: each connection holds what it sends."""
MAX_CONNECTIONS: Final = 32
"""Connections served at once; more are closed at once (a thread each)."""
TEXT: Final = "text/plain; charset=utf-8"

log = logging.getLogger(__name__)


class MetricsServer:
    """Serves the metrics port until stopped.

    Args:
        address: where to listen.
        view: what is exposed.
        labels: what outcomes say; None exposes nothing of them.

    Raises:
        ConfigError: the address cannot be listened on.
    """

    def __init__(self, address: Address, view: View, labels: Labels | None = None) -> None:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(Collector(view))
        if labels is not None:
            registry.register(OutcomesCollector(labels))
        self._server = _listen(address, _handler(view, registry))
        bound = self._server.server_address
        self.address = str(address if address.path is not None else type(address)(address.host, bound[1]))
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.2,), name="kedge-metrics", daemon=True
        )
        self._thread.start()
        self._path = address.path

    def stop(self) -> None:
        """Close the port; a scrape under way may end unanswered."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        if self._path is not None:
            Path(self._path).unlink(missing_ok=True)


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: Any, handler: type[BaseHTTPRequestHandler], family: socket.AddressFamily) -> None:
        self.address_family = family
        self._free = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(address, handler)

    def server_bind(self) -> None:
        # HTTPServer's own asks the name service for this host's name, which may take seconds and is never used.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "", 0

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, *_: Any) -> None:
        log.debug("a connection to the metrics port failed", exc_info=True)


def _listen(address: Address, handler: type[BaseHTTPRequestHandler]) -> _Http:
    try:
        if address.path is not None:
            _remove_stale(address.path)
            return _Http(address.path, handler, socket.AF_UNIX)
        family, *_, target = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        return _Http(target, handler, family)
    except OSError as error:
        why = "the address is in use" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
        raise ConfigError(f"--metrics: cannot listen on {address}: {why}") from error


def _remove_stale(path: str) -> None:
    """Remove a unix socket that nobody listens on any more."""
    if not Path(path).is_socket():
        return
    with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(ConnectionRefusedError):
        probe.connect(path)
        raise OSError(errno.EADDRINUSE, "the address is in use")
    Path(path).unlink()


class _Bounded(io.RawIOBase):
    """A connection as it is read: until its deadline and so many bytes, however slowly or quickly they come."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._end = time.monotonic() + REQUEST_SECONDS
        self._left = REQUEST_BYTES
        self.exceeded = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        if self._left == 0:
            self.exceeded = True
            return 0
        seconds = self._end - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("the request did not come in time")
        self._connection.settimeout(seconds)
        count = self._connection.recv_into(memoryview(buffer)[: self._left])
        self._left -= count
        return count


def _handler(view: View, registry: CollectorRegistry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        server_version = "kedge"
        sys_version = ""

        def setup(self) -> None:
            super().setup()
            self._bounded = _Bounded(self.connection)
            self.rfile = io.BufferedReader(self._bounded)

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if self._bounded.exceeded:
                self._answer(431, b"a request has at most %d bytes\n" % REQUEST_BYTES)
            elif path == "/healthz":
                self._answer(200, b"ok\n")
            elif path == "/readyz":
                self._answer(200, b"ready\n") if view.ready() else self._answer(503, b"not ready\n")
            elif path == "/metrics":
                self._metrics()
            else:
                self._answer(404, b"there are /metrics, /healthz and /readyz\n")

        def do_HEAD(self) -> None:
            self.do_GET()

        def _metrics(self) -> None:
            try:
                body = generate_latest(registry)
            except Exception:
                log.exception("metrics could not be made")
                self._answer(500, b"metrics could not be made; the server's log says why\n")
            else:
                self._answer(200, body, CONTENT_TYPE_LATEST)

        def _answer(self, status: int, body: bytes, kind: str = TEXT) -> None:
            self.connection.settimeout(REQUEST_SECONDS)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def send_error(self, code: int, *_: object) -> None:
            """The base class's answer repeats what was sent."""
            self.close_connection = True
            self._answer(code, f"{HTTPStatus(code).phrase}\n".encode())

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name for it
            log.debug(format, *args)

    return Handler
