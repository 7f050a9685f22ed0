"""The client of the admin port."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, TypeVar, cast

import grpc

from kedge.client.calls import ADMIN, OPTIONS, failure, method, target
from kedge.proto import admin as pb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message

_M = TypeVar("_M", bound="Message")


class AdminClient:
    """Asks a server what it serves and how its traffic compares. Thread-safe; a context manager.

    Answers are the messages of ``protos/kedge/v1/admin.proto``, which documents every field with its unit.

    Args:
        address: ``host:port``, ``[::1]:port`` or ``unix:/path`` of the admin port.
        timeout: seconds a call may take.

    Raises:
        ConfigError: the address is none.
    """

    def __init__(self, address: str, *, timeout: float = 30.0) -> None:
        self.address = address
        self._timeout = timeout
        self._channel = grpc.insecure_channel(target(address), options=OPTIONS)

    def status(self, model: str = "") -> pb.ServerStatus:
        """What is live, of one model or all.

        Raises:
            RequestError: no such model.
            UnreachableError: nothing answers at the address.
        """
        return self._call("GetStatus", pb.GetStatusRequest(model=model), pb.ServerStatus)

    def drift(self, model: str, since: float = 0.0) -> pb.DriftReport:
        """Traffic since a moment (seconds since 1970; 0: all remembered) against the live bundle's reference.

        Raises:
            RequestError: no such model, or its bundle carries no reference.
            UnreachableError: nothing answers at the address.
        """
        return self._call("GetDriftReport", pb.GetDriftReportRequest(model=model, since=since), pb.DriftReport)

    def watch(self, model: str = "") -> Iterator[pb.Verdicts]:
        """How everything stands, then every change, until the caller stops or the server ends.

        Raises:
            RequestError: no such model, or too many watch already.
            UnreachableError: nothing answers at the address, or it went away.
        """
        call = self._channel.unary_stream(
            ADMIN + "WatchVerdicts",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=pb.Verdicts.FromString,
        )(pb.WatchVerdictsRequest(model=model))
        try:
            yield from call
        except grpc.RpcError as error:
            raise failure(error, self.address, ADMIN) from error
        finally:
            call.cancel()

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(self, name: str, message: Message, response: type[_M]) -> _M:
        try:
            return cast("_M", method(self._channel, ADMIN + name, response)(message, timeout=self._timeout))
        except grpc.RpcError as error:
            raise failure(error, self.address, ADMIN) from error
