"""From methods in Python to gRPC handlers: every call passes `Access` first, and every error becomes its status."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import grpc
from google.protobuf.message import DecodeError

from kedge.admin.access import METHODS, Access, Caller, DeniedError
from kedge.admin.patience import impatient
from kedge.errors import Code, KedgeError, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from kedge.admin.refusals import Refusals

log = logging.getLogger(__name__)
_STATUS: Final = {status.value[0]: status for status in grpc.StatusCode}
REQUEST_SECONDS: Final = 10.0
"""From the headers of a call to its request: meanwhile it holds a thread of the admin port."""
CERTIFICATE_NAMES: Final = ("x509_subject_alternative_name", "x509_common_name")


@dataclass(frozen=True)
class Call:
    """What a method may know of the call it answers.

    Attributes:
        caller: who was let in.
        active: whether they still listen.
        end: ends the call as cancelled, from whatever thread.
    """

    caller: Caller
    active: Callable[[], bool]
    end: Callable[[], object]


@dataclass(frozen=True)
class Method:
    """One RPC.

    Attributes:
        request: class of the request message.
        answer: given the request and the call, returns the answer; with `streams` an iterator of answers, with
            `collects` the request is an iterator.
        streams: the answer is a stream.
        collects: the request is a stream.
    """

    request: Any
    answer: Callable[[Any, Call], Any]
    streams: bool = False
    collects: bool = False


class Places:
    """How many calls of a kind may last at the same time: each holds a thread of the admin port.

    Args:
        count: at once.
        what: they do, for the refusal: ``watch verdicts``.
        each: at most for one caller; None: all of them.
    """

    def __init__(self, count: int, what: str, each: int | None = None) -> None:
        self.count = count
        self._each = count if each is None else each
        self._what = what
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()

    @contextmanager
    def one(self, owner: str = "") -> Iterator[None]:
        """Hold a place for a caller. Raises `RequestError` where none is free."""
        with self._lock:
            if self._held.total() >= self.count:
                raise self._full(f"{self.count} {self._what} already")
            if self._held[owner] >= self._each:
                raise self._full(f"{self._each} {self._what} by this caller already")
            self._held[owner] += 1
        try:
            yield
        finally:
            with self._lock:
                self._held[owner] -= 1

    @staticmethod
    def _full(words: str) -> RequestError:
        return RequestError(Code.RESOURCE_EXHAUSTED, f"{words}; end one of them or try again later")


def service(name: str, methods: Mapping[str, Method], access: Access, refusals: Refusals) -> grpc.GenericRpcHandler:
    """The handlers of a service; each of its methods must have a line in `kedge.admin.access.METHODS`.

    For gRPC every method takes a stream of requests, which on the wire is the same: it waits for a single request
    without end, on a thread, before it asks anybody whether the caller may come in.
    """
    handlers = {}
    for key, method in methods.items():
        path = f"{name}/{key}"
        if path not in METHODS:
            raise KeyError(f"{path} has no role in kedge.admin.access")
        make, wrap = _KINDS[method.streams]
        handlers[key] = make(
            wrap(_Admitted(path, method, access, refusals)),
            request_deserializer=None,  # parsed behind the door
            response_serializer=lambda answer: answer.SerializeToString(),
        )
    handler: grpc.GenericRpcHandler = grpc.method_handlers_generic_handler(name, handlers)
    return handler


class _Admitted:
    """A method behind its door."""

    def __init__(self, path: str, method: Method, access: Access, refusals: Refusals) -> None:
        self._path = path
        self._method = method
        self._access = access
        self._refusals = refusals

    def enter(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Any:
        """Ask `Access`, then the method."""
        authorization = [str(value) for key, value in context.invocation_metadata() if key == "authorization"]
        known = context.auth_context()
        names = [name.decode("utf-8", "replace") for kind in CERTIFICATE_NAMES for name in known.get(kind, ())]
        try:
            caller = self._access.decide(self._path, authorization, names)
        except DeniedError as error:
            self._refusals.note(self._path, error)
            raise
        parsed = map(self._parsed, requests)
        request = parsed if self._method.collects else self._one(parsed, context)
        return self._method.answer(request, Call(caller, context.is_active, context.cancel))

    def _one(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
        """The request, which must not be long in coming."""
        with closing(impatient(requests, REQUEST_SECONDS, context.cancel)) as coming:
            for request in coming:
                return request
        name = self._method.request.DESCRIPTOR.full_name
        raise RequestError(Code.INVALID_ARGUMENT, f"the request is missing: send one {name}")

    def _parsed(self, data: bytes) -> Any:
        try:
            return self._method.request.FromString(data)
        except DecodeError as error:
            name = self._method.request.DESCRIPTOR.full_name
            raise RequestError(Code.INVALID_ARGUMENT, f"the request is no {name}") from error

    def fail(self, error: Exception, context: grpc.ServicerContext) -> None:
        """End the call with the status of what was raised. Faults of our own tell the caller nothing."""
        if isinstance(error, KedgeError):
            context.abort(_STATUS[error.code.value], str(error))
        if not context.is_active():  # the caller went away; whatever broke on that is no fault
            context.abort(grpc.StatusCode.CANCELLED, "the caller went away")
        log.error("an admin call failed", exc_info=error, extra={"data": {"method": self._path}})
        context.abort(_STATUS[Code.INTERNAL.value], "internal fault; the server's log says more")


def _once(admitted: _Admitted) -> Any:
    def answer(requests: Iterator[bytes], context: grpc.ServicerContext) -> Any:
        try:
            return admitted.enter(requests, context)
        except Exception as error:  # noqa: BLE001 - whatever it is becomes a status
            admitted.fail(error, context)

    return answer


def _stream(admitted: _Admitted) -> Any:
    def answer(requests: Iterator[bytes], context: grpc.ServicerContext) -> Any:
        try:
            yield from admitted.enter(requests, context)
        except Exception as error:  # noqa: BLE001 - whatever it is becomes a status
            admitted.fail(error, context)

    return answer


_KINDS: Final = {
    False: (grpc.stream_unary_rpc_method_handler, _once),
    True: (grpc.stream_stream_rpc_method_handler, _stream),
}
