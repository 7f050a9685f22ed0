"""What every client shares: channels, method names and how gRPC's failures become Kedge's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from kedge.config import Address
from kedge.errors import Code, KedgeError, RequestError

if TYPE_CHECKING:
    from google.protobuf.message import Message

INFERENCE: Final = "/inference.GRPCInferenceService/"
ADMIN: Final = "/kedge.v1.Admin/"
AUDIT: Final = "/kedge.v1.Audit/"
OUTCOMES: Final = "/kedge.v1.Outcomes/"
REPORTS: Final = "/kedge.v1.OutcomeReports/"
PORTS: Final = {
    INFERENCE: "data port (8001 by default)",
    ADMIN: "admin port (8003 by default)",
    AUDIT: "admin port (8003 by default)",
    OUTCOMES: "data port (8001 by default)",
    REPORTS: "admin port (8003 by default)",
}
"""Where a server answers each service."""
OPTIONS: Final = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


class UnreachableError(KedgeError):
    """No server answers at an address."""

    code = Code.UNAVAILABLE


def target(address: str) -> str:
    """The address as gRPC wants it. Raises `ConfigError` where it is none."""
    return str(Address.parse(address))


def method(channel: Any, path: str, response: type[Message]) -> Any:
    """A unary call on a channel of either kind, `grpc` or `grpc.aio`."""
    return channel.unary_unary(
        path,
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=response.FromString,
    )


def failure(error: Any, address: str, service: str) -> KedgeError:
    """The Kedge error for a `grpc.RpcError` of a call to `service`, one of `PORTS`."""
    number, detail = error.code().value[0], error.details() or "no reason was given"
    if number == Code.UNAVAILABLE.value and "connect" in detail.lower():
        return UnreachableError(_why_not(address, detail.lower()))
    if number == Code.UNIMPLEMENTED.value:
        return RequestError(
            Code.UNIMPLEMENTED, f"{address} does not answer {service.strip('/')}; is it the {PORTS[service]}?"
        )
    known = {code.value for code in Code}
    return RequestError(Code(number) if number in known else Code.INTERNAL, detail)


def _why_not(address: str, detail: str) -> str:
    """What a failed connection comes from, by gRPC's words in lower case."""
    if "certificate_verify_failed" in detail:
        return f"the certificate of {address} is not of the given CA, has expired, or is another server's"
    if "handshake" in detail:
        return f"{address} and this client agree on no TLS; does the server speak it there?"
    if "socket closed" in detail or "reset by peer" in detail:
        return f"{address} ends the connection; it may want TLS, or a client certificate that its CA signed"
    return f"no server answers at {address}; is `kedge serve` running there?"
