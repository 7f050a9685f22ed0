"""One POST of JSON within one deadline, and what its answer means for the message."""

from __future__ import annotations

import http.client
import io
import json
import ssl
import time
import urllib.parse
from typing import TYPE_CHECKING, Any, Final

from kedge.alerts.model import printable
from kedge.alerts.sinks.base import Delivered, Refused, Retry
from kedge.errors import ConfigError

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping
    from pathlib import Path

    from kedge.alerts.sinks.base import Outcome

ABOUT_THE_SINK: Final = frozenset({401, 403, 404, 405, 407, 408, 421, 425, 429})
"""Refusals that a person mends at the sink or in the settings: the message itself may be fine, so it is kept."""
MAX_AFTER: Final = 3600.0
"""Seconds of Retry-After that are honoured."""
ANSWER_BYTES: Final = 2048
ANSWER_CHARS: Final = 200


class _Timed(io.RawIOBase):
    """What a socket receives, until a deadline for all of it: one byte a second must not last for ever."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._socket = sock
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(left)
        return self._socket.recv_into(buffer)


class _Answer(http.client.HTTPResponse):
    """A response read through `_Timed`."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        super().__init__(sock, method="POST")
        self.fp.close()
        self.fp = io.BufferedReader(_Timed(sock, deadline))


def link(external_url: str, key: str) -> str:
    """Where people find an alert on this server. By query: Alertmanager refuses a URL with a fragment."""
    base = external_url if "?" in external_url else external_url.rstrip("/") + "/"
    return f"{base}{'&' if '?' in base else '?'}alert={key}"


def trust(ca_file: Path | None) -> ssl.SSLContext:
    """The default TLS context: certificates and names are checked. Raises `ConfigError`."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"cannot read authorities from '{ca_file}': {error.strerror or error}") from error


def post(url: str, body: object, headers: Mapping[str, str], *, timeout: float, context: ssl.SSLContext) -> Outcome:
    """POST a JSON value. Redirects are not followed: they would carry the token elsewhere.

    Args:
        url: http or https.
        body: plain JSON values.
        headers: besides those about length and agent.
        timeout: seconds for all of it but the resolution of the name.
        context: for https.

    Returns:
        Delivered on 2xx; refused on those 4xx that speak about the message; retried on everything else.
    """
    parts = urllib.parse.urlsplit(url)
    place = f"{parts.scheme}://{parts.netloc}"  # paths and queries may be secrets
    host, deadline = parts.hostname or "", time.monotonic() + timeout
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(host, parts.port or 443, timeout=timeout, context=context)
    else:
        connection = http.client.HTTPConnection(host, parts.port or 80, timeout=timeout)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        data = json.dumps(body, ensure_ascii=True, allow_nan=False).encode("ascii")
        connection.request("POST", target, data, {"User-Agent": "kedge", "Connection": "close", **headers})
        with _Answer(connection.sock, deadline) as answer:
            answer.begin()
            return _meaning(place, answer)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return Retry(f"{place}: {printable(reason, ANSWER_CHARS)}")
    finally:
        connection.close()


def _meaning(place: str, answer: http.client.HTTPResponse) -> Outcome:
    if 200 <= answer.status < 300:
        return Delivered()
    try:
        said = printable(answer.read(ANSWER_BYTES).decode("utf-8", "replace"), ANSWER_CHARS)
    except (OSError, http.client.HTTPException):
        said = ""  # the status has said enough
    reason = f"{place} answered {answer.status}" + (f": {said}" if said else "")
    if 400 <= answer.status < 500 and answer.status not in ABOUT_THE_SINK:
        return Refused(reason)
    asked = answer.headers.get("Retry-After", "")
    after = min(MAX_AFTER, float(asked)) if asked.isascii() and asked.isdigit() else 0.0
    return Retry(reason, after)
