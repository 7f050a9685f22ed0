"""A real HTTP server on loopback that keeps what it is sent and answers as the test says."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

WAIT = 60.0


@dataclass(frozen=True)
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    body: Any


class Receiver:
    """Listens once constructed.

    Args:
        answer: status and headers for a request, given its place in the sequence; called in its own thread.
        port: 0 for a free one.
        context: makes it https.
    """

    def __init__(
        self,
        answer: Callable[[int, Received], tuple[int, dict[str, str]]] = lambda _n, _request: (200, {}),
        port: int = 0,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.answer = answer
        self.requests: list[Received] = []
        self._arrived = threading.Condition()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer._take(self)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Quiet."""

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: Any) -> None:
                """Quiet: clients that distrust the certificate hang up."""

        self._server = Server(("127.0.0.1", port), Handler)
        self._server.daemon_threads = False
        if context is not None:
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = int(self._server.server_address[1])
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def wait(self, enough: Callable[[list[Received]], bool]) -> list[Received]:
        """Until the requests so far are enough; fails after a long while."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: enough(self.requests), WAIT), self.requests
            return list(self.requests)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _take(self, handler: BaseHTTPRequestHandler) -> None:
        data = handler.rfile.read(int(handler.headers["Content-Length"]))
        request = Received(handler.path, dict(handler.headers.items()), json.loads(data))
        with self._arrived:
            self.requests.append(request)
            number = len(self.requests)
            self._arrived.notify_all()
        status, headers = self.answer(number, request)
        try:
            handler.send_response(status)
            for name, value in headers.items():
                handler.send_header(name, value)
            handler.send_header("Content-Length", "5")
            handler.end_headers()
            handler.wfile.write(b"said\n")
        except OSError:
            pass  # the client had enough of waiting, or was killed: what tests of timeouts are about
