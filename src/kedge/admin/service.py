"""`kedge.v1.Admin`: each method reads from the `View` and writes a message."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import grpc

import kedge
from kedge.admin.messages import drift_message
from kedge.admin.watch import WATCHERS, Watch
from kedge.errors import Code, ConfigError, KedgeError
from kedge.proto import admin as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kedge.config import Address
    from kedge.rollout.view import View

SERVICE: Final = "kedge.v1.Admin"
MAX_MESSAGE_BYTES: Final = 1024 * 1024
"""Of a question; no method takes more than a few names."""
THREADS: Final = 4
"""For questions; every watcher of verdicts holds one more."""

log = logging.getLogger(__name__)
_STATUS: Final = {status.value[0]: status for status in grpc.StatusCode}


class AdminServer:
    """Serves the admin port until stopped.

    Args:
        address: loopback or a unix socket; `kedge.config` refuses others.
        view: what the answers are made of.

    Raises:
        ConfigError: the address cannot be listened on.
    """

    def __init__(self, address: Address, view: View) -> None:
        self._view = view
        options = (("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES))
        self._server = grpc.server(ThreadPoolExecutor(THREADS + WATCHERS, "kedge-admin"), options=options)
        methods: dict[str, tuple[Callable[[Any], Any], Any]] = {
            "GetStatus": (self.status, pb.GetStatusRequest),
            "GetDriftReport": (self.drift, pb.GetDriftReportRequest),
        }
        handlers = {name: _handler(call, request) for name, (call, request) in methods.items()}
        self._watch = Watch(view)
        handlers["WatchVerdicts"] = _stream_handler(self._watch.stream, pb.WatchVerdictsRequest)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        try:
            port = self._server.add_insecure_port(str(address))
        except RuntimeError as error:
            raise ConfigError(f"--admin: cannot listen on {address}: {_why(error)}") from error
        self.address = str(address if address.path is not None else type(address)(address.host, port))
        self._server.start()

    def stop(self, grace: float = 1.0) -> None:
        """Refuse new calls and give those under way `grace` seconds."""
        self._watch.stop()
        self._server.stop(grace).wait()

    def status(self, request: pb.GetStatusRequest) -> pb.ServerStatus:
        """Answer GetStatus."""
        view = self._view
        totals = view.totals()
        answer = pb.ServerStatus(
            kedge_version=kedge.__version__,
            plane=view.plane,
            kernel=view.kernel,
            kernel_isa=view.kernel_isa,
            uptime_seconds=max(0.0, view.clock() - view.started),
            ready=view.ready(),
        )
        for live in view.live(request.model):
            model = answer.models.add(
                model=live.bundle.name,
                version=live.bundle.version,
                bundle=live.bundle.id,
                epoch=live.epoch,
                live_since=live.since,
                has_reference=live.bundle.distributions is not None,
            )
            for key, counts in totals.items():
                if key.bundle == live.bundle.id:
                    model.rows += counts.rows
                    for code, count in enumerate(counts.status.tolist()):
                        if count:
                            model.requests[code] += count
        return answer

    def drift(self, request: pb.GetDriftReportRequest) -> pb.DriftReport:
        """Answer GetDriftReport."""
        return drift_message(self._view.drift(request.model, request.since))


def _handler(call: Callable[[Any], Any], request: Any) -> Any:
    def answer(message: Any, context: grpc.ServicerContext) -> Any:
        try:
            return call(message)
        except KedgeError as error:
            context.abort(_STATUS[error.code.value], str(error))
        except Exception:
            log.exception("an admin call failed")
            context.abort(_STATUS[Code.INTERNAL.value], "internal fault; the server's log says more")

    return grpc.unary_unary_rpc_method_handler(
        answer, request_deserializer=request.FromString, response_serializer=lambda reply: reply.SerializeToString()
    )


def _stream_handler(call: Callable[[Any, Callable[[], bool]], Iterator[Any]], request: Any) -> Any:
    def answer(message: Any, context: grpc.ServicerContext) -> Any:
        try:
            yield from call(message, context.is_active)
        except KedgeError as error:
            context.abort(_STATUS[error.code.value], str(error))
        except Exception:
            log.exception("an admin stream failed")
            context.abort(_STATUS[Code.INTERNAL.value], "internal fault; the server's log says more")

    return grpc.unary_stream_rpc_method_handler(
        answer, request_deserializer=request.FromString, response_serializer=lambda reply: reply.SerializeToString()
    )


def _why(error: Exception) -> str:
    return (
        "the address is in use" if "in use" in str(error) else "it is taken, not of this machine, or needs privileges"
    )
