"""Receive and send: the grpc.aio server, its methods as bytes in and bytes out, and gRPC's status codes."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio

from kedge.errors import Code, PlaneError, RequestError
from kedge.plane.portable import decode, parameters
from kedge.plane.portable.stream import serve_stream
from kedge.plane.text import one_line
from kedge.proto import health as health_pb
from kedge.proto import inference as pb

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kedge.plane.contract import Limits, Tls
    from kedge.plane.portable.cold_calls import ColdCalls
    from kedge.plane.portable.pipeline import KeyOfHeader, Pipeline

_log: Final = logging.getLogger("kedge.plane")
_STATUS: Final = {status.value[0]: status for status in grpc.StatusCode}
_SERVICE: Final = "/inference.GRPCInferenceService/"
_MODEL_INFER: Final = _SERVICE + "ModelInfer"
_KEY: Final = "x-kedge-key"
_UNKNOWN_SERVICE: Final = Code.NOT_FOUND
_MAX_PENDING: Final = 16_384
"""Requests of all connections that the core may hold until this process takes them up: memory of a flood."""


def _no_key() -> None:
    """The sticky key of a call without one."""


def _checked(key: str) -> str:
    """The sticky key of a call's metadata. Raises `RequestError` for one that is too long."""
    return parameters.check_key(key, f"metadata '{_KEY}'")


class Methods(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc ships no types
    """Which method is answered by whom: the hot ones here, every other one as a cold call."""

    def __init__(self, pipeline: Pipeline, cold: ColdCalls) -> None:
        self._pipeline = pipeline
        self._cold = cold
        small = {
            _SERVICE + "ServerLive": self._server_live,
            _SERVICE + "ServerReady": self._server_ready,
            _SERVICE + "ModelReady": self._model_ready,
            "/grpc.health.v1.Health/Check": self._health_check,
        }
        self._handlers = {method: _unary(self._small(answer)) for method, answer in small.items()}
        self._infer = _unary(self._model_infer)
        self._handlers[_SERVICE + "ModelStreamInfer"] = _streaming(self._model_stream_infer)

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """The handler of a call."""
        if details.method == _MODEL_INFER:
            # grpc has read the metadata already; asked again for it, its context would copy them once more
            for name, value in details.invocation_metadata:
                if name == _KEY:
                    return _unary(partial(self._model_infer, key_of_header=partial(_checked, value)))
            return self._infer
        handler = self._handlers.get(details.method)
        if handler is not None:
            return handler
        method = details.method

        async def cold(_: Any, context: grpc.aio.ServicerContext) -> None:
            try:
                await self._cold.serve(method, context)
            except RequestError as error:
                await refuse(context, error)

        return _streaming(cold)

    async def _model_infer(
        self, payload: bytes, context: grpc.aio.ServicerContext, key_of_header: KeyOfHeader = _no_key
    ) -> bytes:
        try:
            return await self._pipeline.infer(payload, context.time_remaining(), key_of_header)
        except RequestError as error:
            await refuse(context, error)
        except Exception:  # noqa: BLE001  the last stop before the client
            _log.exception("a request failed in the server")
            await refuse(context, RequestError(Code.INTERNAL, "the server failed on this request"))
        raise AssertionError  # refuse() does not return

    async def _model_stream_infer(self, _: Any, context: grpc.aio.ServicerContext) -> None:
        given = [value for name, value in context.invocation_metadata() or () if name == _KEY]
        try:
            key = _checked(given[0]) if given else None
        except RequestError as error:
            await refuse(context, error)
        if not await serve_stream(self._pipeline, context, lambda: key):
            await refuse(
                context, RequestError(Code.UNAVAILABLE, "the server is draining; open the stream on another one")
            )

    def _small(self, answer: Callable[[bytes], bytes]) -> Callable[..., Awaitable[bytes]]:
        async def handler(payload: bytes, context: grpc.aio.ServicerContext) -> bytes:
            try:
                return answer(payload)
            except RequestError as error:
                await refuse(context, error)
                raise

        return handler

    def _server_live(self, payload: bytes) -> bytes:
        decode.small(pb.ServerLiveRequest.FromString, payload)
        return pb.ServerLiveResponse(live=True).SerializeToString()

    def _server_ready(self, payload: bytes) -> bytes:
        decode.small(pb.ServerReadyRequest.FromString, payload)
        return pb.ServerReadyResponse(ready=self._pipeline.ready()).SerializeToString()

    def _model_ready(self, payload: bytes) -> bytes:
        request = decode.small(pb.ModelReadyRequest.FromString, payload)
        ready = bool(request.name) and self._pipeline.ready(request.name, request.version)
        return pb.ModelReadyResponse(ready=ready).SerializeToString()

    def _health_check(self, payload: bytes) -> bytes:
        request = decode.small(health_pb.HealthCheckRequest.FromString, payload)
        if request.service and request.service not in self._pipeline.table.entries:
            raise RequestError(_UNKNOWN_SERVICE, "unknown service; name a model, or nothing for the server")
        status = health_pb.HealthCheckResponse.ServingStatus
        serving = "SERVING" if self._pipeline.ready(request.service) else "NOT_SERVING"
        return health_pb.HealthCheckResponse(status=status.Value(serving)).SerializeToString()


async def refuse(context: grpc.aio.ServicerContext, error: RequestError) -> None:
    """End the call with an error; raises what grpc.aio uses to leave a handler."""
    await context.abort(_STATUS[error.code.value], one_line(str(error)))


def _unary(handler: Callable[..., Awaitable[bytes]]) -> grpc.RpcMethodHandler:
    return grpc.unary_unary_rpc_method_handler(handler)


def _streaming(handler: Callable[..., Awaitable[None]]) -> grpc.RpcMethodHandler:
    return grpc.stream_stream_rpc_method_handler(handler)


class Server:
    """The listening server. Lives on the loop that made it.

    Args:
        methods: who answers.
        limits: of messages and streams.
    """

    def __init__(self, methods: Methods, limits: Limits) -> None:
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", limits.max_message_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_concurrent_streams", limits.max_concurrent_streams),
                ("grpc.so_reuseport", 0),
                # Above 1,000 the core would answer some of those it has no time for with CANCELLED, uncounted.
                ("grpc.server.max_pending_requests", _MAX_PENDING),
                ("grpc.server.max_pending_requests_hard_limit", _MAX_PENDING),
                ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
                ("grpc.keepalive_permit_without_calls", 1),
            ]
        )
        self._server.add_generic_rpc_handlers((methods,))
        self._tls: Tls | None = None

    async def start(self, address: str, tls: Tls | None) -> str:
        """Listen; returns the bound address.

        Raises:
            PlaneError: the address cannot be listened on, or the certificate cannot be used.
        """
        self._tls = tls
        try:
            if tls is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, self._credentials(tls))
            await self._server.start()
        except (RuntimeError, ValueError) as error:
            raise PlaneError(f"cannot listen on '{address}': {one_line(str(error))}") from None
        return address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"

    def replace_tls(self, tls: Tls) -> None:
        """Use other certificates for new connections."""
        self._tls = tls

    async def stop(self, grace: float | None) -> None:
        """Send GOAWAY, refuse new calls, and end what still runs after `grace` seconds."""
        await self._server.stop(grace)

    def _credentials(self, tls: Tls) -> grpc.ServerCredentials:
        def current() -> grpc.ServerCertificateConfiguration:
            now = self._tls or tls
            return grpc.ssl_server_certificate_configuration([(now.key, now.certificate)], now.client_ca)

        return grpc.dynamic_ssl_server_credentials(current(), current, tls.client_ca is not None)
