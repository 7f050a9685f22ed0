"""Cold calls: methods the plane does not answer itself, handed to one callback on a thread of their own."""

from __future__ import annotations

import asyncio
import itertools
import logging
import queue
import threading
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio

from kedge.errors import Code, RequestError
from kedge.plane import limits
from kedge.plane.contract import CallStatus, ColdCallback, Event
from kedge.plane.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

_log: Final = logging.getLogger("kedge.plane")
_STATUS: Final = {status.value[0]: status for status in grpc.StatusCode}


class _Call:
    """An open call: what is to be sent on it, and how much more the client may ask."""

    def __init__(self) -> None:
        self.replies: asyncio.Queue[tuple[bytes | None, bool, CallStatus | None]] = asyncio.Queue()
        self.room = asyncio.Semaphore(limits.MAX_COLD_REPLIES)


class ColdCalls:
    """The open cold calls. Made on the serving thread, and touched by it alone but for `reply`.

    Args:
        callback: who answers; None refuses every cold call.
    """

    def __init__(self, callback: ColdCallback | None) -> None:
        self._callback = callback
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count(1)
        self._calls: dict[int, _Call] = {}
        self._events: queue.SimpleQueue[tuple[int, Event, str, Mapping[str, str], bytes] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._deliver, name="kedge-cold", daemon=True)
        self._thread.start()

    async def serve(self, method: str, context: grpc.aio.ServicerContext) -> None:
        """Carry one call. Raises `RequestError` where it is refused, or ends it as `reply` says."""
        if self._callback is None:
            raise RequestError(Code.UNIMPLEMENTED, f"method {one_line(method)} is not implemented")
        if len(self._calls) >= limits.MAX_COLD_CALLS:
            raise RequestError(
                Code.RESOURCE_EXHAUSTED, f"{len(self._calls)} calls of this kind are open; try again later"
            )
        number = next(self._numbers)
        metadata = {name: value for name, value in context.invocation_metadata() or () if isinstance(value, str)}
        self._post(number, Event.OPEN, method, metadata)
        call = self._calls[number] = _Call()
        reader = asyncio.ensure_future(self._read(number, call, method, metadata, context))
        ended = False
        try:
            status = await self._write(call, reader, context)
            ended = True
        finally:
            reader.cancel()
            del self._calls[number]
            if not ended:
                self._events.put((number, Event.CANCEL, method, metadata, b""))
        if status is not None and status.code != 0:
            await context.abort(_STATUS.get(status.code, grpc.StatusCode.UNKNOWN), one_line(status.message))

    def reply(self, call: int, payload: bytes | None, last: bool, status: CallStatus | None) -> None:
        """Send on a call, from any thread."""
        self._loop.call_soon_threadsafe(self._put, call, payload, last, status)

    def end_all(self, status: CallStatus) -> None:
        """End every open call."""
        for call in self._calls.values():
            call.replies.put_nowait((None, True, status))

    def stop(self) -> None:
        """End the thread, once it has delivered what waits."""
        self._events.put(None)
        self._thread.join()

    def _put(self, number: int, payload: bytes | None, last: bool, status: CallStatus | None) -> None:
        call = self._calls.get(number)
        if call is not None:
            call.replies.put_nowait((payload, last, status))

    async def _write(
        self, call: _Call, reader: asyncio.Task[None], context: grpc.aio.ServicerContext
    ) -> CallStatus | None:
        while True:
            reply = asyncio.ensure_future(call.replies.get())
            waits: set[asyncio.Future[Any]] = {reply} if reader.done() else {reply, reader}
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError:
                reply.cancel()
                raise
            if reader.done() and not reader.cancelled() and (error := reader.exception()) is not None:
                reply.cancel()
                raise error
            if not reply.done():
                reply.cancel()
                continue
            payload, last, status = reply.result()
            if payload is not None:
                await context.write(payload)
                call.room.release()
            if last:
                return status

    async def _read(
        self, number: int, call: _Call, method: str, metadata: Mapping[str, str], context: grpc.aio.ServicerContext
    ) -> None:
        while True:
            await call.room.acquire()
            payload = await context.read()
            if payload is grpc.aio.EOF:
                self._events.put((number, Event.HALF_CLOSE, method, metadata, b""))
                return
            self._post(number, Event.MESSAGE, method, metadata, payload)

    def _post(self, number: int, event: Event, method: str, metadata: Mapping[str, str], payload: bytes = b"") -> None:
        if self._events.qsize() >= limits.MAX_COLD_WAITING:
            raise RequestError(Code.RESOURCE_EXHAUSTED, "too many calls of this kind wait; try again later")
        self._events.put((number, event, method, metadata, payload))

    def _deliver(self) -> None:
        callback = self._callback
        while (event := self._events.get()) is not None:
            if callback is None:
                continue
            try:
                callback(*event)
            except Exception:  # noqa: BLE001  one bad call must not end the thread
                _log.exception("a cold call failed in the server")
                self.reply(event[0], None, True, CallStatus(Code.INTERNAL.value, "the server failed on this call"))
