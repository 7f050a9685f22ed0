"""The one callback of cold calls: which method is answered by which function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import DecodeError

from kedge.errors import Code, RequestError
from kedge.plane.cold import metadata, reflection, statistics
from kedge.plane.cold.health import Watchers
from kedge.plane.cold.outcomes import METHODS as OUTCOMES
from kedge.plane.contract import CallStatus, Event
from kedge.plane.text import quoted
from kedge.proto import health as health_pb
from kedge.proto import inference as pb
from kedge.proto import reflection as reflection_pb

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from google.protobuf.message import Message

    from kedge.plane.cold.facts import Facts
    from kedge.plane.cold.outcomes import OutcomeCalls
    from kedge.plane.contract import DataPlane

_SERVICE: Final = "/inference.GRPCInferenceService/"
WATCH: Final = "/grpc.health.v1.Health/Watch"
REFLECTION: Final = (
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
)
REFUSED: Final = frozenset(
    _SERVICE + name
    for name in (
        "SystemSharedMemoryStatus",
        "SystemSharedMemoryRegister",
        "SystemSharedMemoryUnregister",
        "CudaSharedMemoryStatus",
        "CudaSharedMemoryRegister",
        "CudaSharedMemoryUnregister",
        "TraceSetting",
        "LogSettings",
    )
)
"""Methods of the protocol that Kedge does not serve, and says so."""
MAX_QUESTION_BYTES: Final = 64 * 1024
"""Of the message of a call with one answer: megabytes held for a client that never ends its call."""


@dataclass(frozen=True)
class _Method:
    """A method with one request and one answer."""

    parse: Callable[[bytes], Any]
    answer: Callable[[Any, Facts], Message]


_UNARY: Final = {
    _SERVICE + "ServerMetadata": _Method(pb.ServerMetadataRequest.FromString, metadata.server_metadata),
    _SERVICE + "ModelMetadata": _Method(pb.ModelMetadataRequest.FromString, metadata.model_metadata),
    _SERVICE + "ModelConfig": _Method(pb.ModelConfigRequest.FromString, metadata.model_config),
    _SERVICE + "ModelStatistics": _Method(pb.ModelStatisticsRequest.FromString, statistics.model_statistics),
    _SERVICE + "RepositoryIndex": _Method(pb.RepositoryIndexRequest.FromString, metadata.repository_index),
    _SERVICE + "RepositoryModelLoad": _Method(pb.RepositoryModelLoadRequest.FromString, metadata.repository_change),
    _SERVICE + "RepositoryModelUnload": _Method(pb.RepositoryModelUnloadRequest.FromString, metadata.repository_change),
}


class ColdService:
    """Answers cold calls for any plane: ``plane.on_cold(ColdService(plane, facts))``.

    Args:
        plane: whose `reply` carries the answers.
        facts: what they are made of.
        outcomes: takes labels in; None answers such calls as unknown.
    """

    def __init__(self, plane: DataPlane, facts: Facts, outcomes: OutcomeCalls | None = None) -> None:
        self._plane = plane
        self._outcomes = outcomes
        self._facts = facts
        self._watchers = Watchers(facts, lambda call, payload: plane.reply(call, payload, last=False))
        self._messages: dict[int, bytes | None] = {}

    def refresh(self) -> None:
        """Tell watchers what changed: to be called after every publish, and when draining begins. Thread-safe."""
        self._watchers.refresh()

    def __call__(self, call: int, event: Event, method: str, _: Mapping[str, str], payload: bytes) -> None:
        """Take one event; see `ColdCallback`."""
        if self._outcomes is not None and method in OUTCOMES:
            try:
                self._outcomes.event(call, event, method, payload)
            except RequestError as error:
                self._plane.reply(call, None, last=True, status=CallStatus(error.code.value, str(error)))
            return
        if event is Event.CANCEL:
            self._messages.pop(call, None)
            self._watchers.remove(call)
            return
        try:
            if method in _UNARY:
                self._unary(call, event, _UNARY[method], payload)
            elif method == WATCH:
                if event is Event.MESSAGE:
                    self._watchers.add(call, _parsed(health_pb.HealthCheckRequest.FromString, payload))
            elif method in REFLECTION:
                self._reflect(call, event, payload)
            elif event is Event.OPEN:
                raise _unknown(method)
        except RequestError as error:
            self._messages.pop(call, None)
            self._watchers.remove(call)
            self._plane.reply(call, None, last=True, status=CallStatus(error.code.value, str(error)))

    def _unary(self, call: int, event: Event, method: _Method, payload: bytes) -> None:
        """Answer when the client has sent all it has: exactly one message."""
        if event is Event.OPEN:
            self._messages[call] = None
        elif call not in self._messages:
            return  # it was refused, and this was still on its way
        elif event is Event.MESSAGE:
            if len(payload) > MAX_QUESTION_BYTES:
                text = f"a message of {len(payload):,} bytes, the limit is {MAX_QUESTION_BYTES:,}"
                raise RequestError(Code.INVALID_ARGUMENT, text)
            if self._messages[call] is not None:
                raise RequestError(Code.INVALID_ARGUMENT, "this method takes one message, got more")
            self._messages[call] = payload
        else:
            message = self._messages.pop(call)
            if message is None:
                raise RequestError(Code.INVALID_ARGUMENT, "this method takes one message, got none")
            answer = method.answer(_parsed(method.parse, message), self._facts)
            self._plane.reply(call, answer.SerializeToString(), last=True)

    def _reflect(self, call: int, event: Event, payload: bytes) -> None:
        if event is Event.MESSAGE:
            question = _parsed(reflection_pb.ServerReflectionRequest.FromString, payload)
            self._plane.reply(call, reflection.answer(question).SerializeToString(), last=False)
        elif event is Event.HALF_CLOSE:
            self._plane.reply(call, None, last=True)


def _parsed(parse: Callable[[bytes], Any], payload: bytes) -> Any:
    try:
        return parse(payload)
    except DecodeError:
        raise RequestError(Code.INVALID_ARGUMENT, "these bytes are not the message this method takes") from None


def _unknown(method: str) -> RequestError:
    if method in REFUSED:
        return RequestError(Code.UNIMPLEMENTED, f"{method.rpartition('/')[2]} is not supported by this server")
    return RequestError(Code.UNIMPLEMENTED, f"unknown method {quoted(method)}")
