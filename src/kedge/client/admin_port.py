"""What the clients of the admin port share: how they connect, who they say they are, and what they ask."""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003 - dataclass fields, for callers who ask for their types
from typing import TYPE_CHECKING, Any, Final, TypeVar

import grpc

from kedge import pem
from kedge.audit import sidecars
from kedge.client.calls import OPTIONS
from kedge.config import Address
from kedge.errors import ConfigError
from kedge.proto import admin as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from google.protobuf.message import Message

M = TypeVar("M", bound="Message")
CHUNK_BYTES: Final = 256 * 1024
"""Of an upload, a message."""
RETRIES: Final = 5
"""Times an upload goes on after the connection broke without anything new having arrived."""
PAUSE: Final = 0.5
"""Seconds before the first of them; twice as long before each next one."""


@dataclass(frozen=True)
class Credentials:
    """How a client is known to a server, and a server to it.

    Attributes:
        token: bearer token; only sent over TLS or to this machine.
        ca: file of CA certificates (PEM) that the server's must be signed by; turns TLS on.
        certificate, key: files of the client's own certificate and key (PEM), with `ca`.
    """

    token: str | None = field(default=None, repr=False)
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What every call carries."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()

    def channel(self) -> grpc.ChannelCredentials | None:
        """TLS for the channel; None for plain text.

        Raises:
            ConfigError: a file cannot be read, or half of a pair is missing.
        """
        if (self.certificate is None) != (self.key is None):
            raise ConfigError("a client certificate and its key go together: give both or neither")
        if self.ca is None:
            if self.certificate is not None:
                raise ConfigError("a client certificate needs TLS: give the server's CA as well (--tls-ca)")
            return None
        chain = None if self.certificate is None else pem.read(self.certificate)
        key = None if self.key is None else pem.read(self.key)
        return grpc.ssl_channel_credentials(pem.read(self.ca), key, chain)

    def check(self, address: str) -> None:
        """Refuse to send a token where others could read it. Raises `ConfigError`."""
        if self.token is None:
            return
        if not self.token.isascii() or not self.token.isprintable() or " " in self.token:
            raise ConfigError("the token is none: it has spaces or characters that no token has")
        if self.ca is None and not Address.parse(address).loopback:
            raise ConfigError(f"a token is not sent to {address} in plain text; use TLS (--tls-ca)")


NOBODY: Final = Credentials()


def channel(address: str, credentials: Credentials, kind: Any = grpc) -> Any:
    """A channel of `grpc` or `grpc.aio`. Raises `ConfigError`."""
    where = str(Address.parse(address))
    credentials.check(address)
    secure = credentials.channel()
    if secure is None:
        return kind.insecure_channel(where, options=OPTIONS)
    return kind.secure_channel(where, secure, options=OPTIONS)


def stream(channel: Any, path: str, response: type[Message]) -> Any:
    """A call that is answered by a stream, on a channel of either kind."""
    return channel.unary_stream(path, request_serializer=_bytes, response_deserializer=response.FromString)


def gather(channel: Any, path: str, response: type[Message]) -> Any:
    """A call whose request is a stream, on a channel of either kind."""
    return channel.stream_unary(path, request_serializer=_bytes, response_deserializer=response.FromString)


def fresh(key: str) -> str:
    """An idempotency key: the given one, or one that nobody had."""
    return key or uuid.uuid4().hex


def plan_text(plan: Mapping[str, Any] | None) -> str:
    """A plan as the server takes it. Raises `ConfigError` where it has no JSON form."""
    try:
        return "" if plan is None else json.dumps(plan, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"the plan has no JSON form: {error}") from error


class Source:
    """An archive to be uploaded, read where the server says.

    Args:
        path: the archive; attestations are taken from beside it.
        reason: why, for the audit log.
        advance: told the bytes that were sent, as they are.

    Raises:
        OSError: it cannot be read.
        SignatureError: an attestation beside it cannot be read.
    """

    def __init__(self, path: Path, reason: str, advance: Callable[[int], None] | None) -> None:
        self._path = path
        self._advance = advance
        self._told = 0
        with path.open("rb") as file:
            self.sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            self.size = file.tell()
        self._header = pb.UploadHeader(
            size=self.size,
            sha256=self.sha256,
            reason=reason,
            attestations=[data for _, data in sidecars.beside(path)],
        )

    def messages(self, offset: int) -> Iterator[pb.UploadBundleRequest]:
        """The header, then the archive from `offset` on."""
        yield pb.UploadBundleRequest(header=self._header)
        with self._path.open("rb") as file:
            file.seek(offset)
            self._tell(offset)
            while data := file.read(CHUNK_BYTES):
                yield pb.UploadBundleRequest(chunk=pb.UploadChunk(offset=offset, data=data))
                offset += len(data)
                self._tell(offset)

    def _tell(self, sent: int) -> None:
        if self._advance is not None and sent > self._told:
            self._advance(sent - self._told)
            self._told = sent


class Attempts:
    """Whether an upload that failed is worth another attempt: where the connection broke under way, a few times."""

    def __init__(self) -> None:
        self.offset = -1
        self._furthest = -1
        self._failed = 0

    def pause(self, error: Any) -> float | None:
        """Seconds to wait before going on; None gives up. `offset` is where the attempt began; -1: it never did."""
        # After a break the server may take a moment to see it, and until then holds the upload for its first caller.
        worth = {grpc.StatusCode.UNAVAILABLE, *({grpc.StatusCode.FAILED_PRECONDITION} if self._failed else ())}
        if self.offset < 0 or error.code() not in worth:
            return None
        self._failed = 1 if self.offset > self._furthest else self._failed + 1
        self._furthest = max(self._furthest, self.offset)
        return None if self._failed > RETRIES else PAUSE * 2.0 ** (self._failed - 1)


def _bytes(message: Message) -> bytes:
    return message.SerializeToString()
