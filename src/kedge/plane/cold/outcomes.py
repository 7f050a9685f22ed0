"""Labels that clients report: parsed and taken in on one thread of their own, which may wait for the disk.

What waits when the thread is free is one turn: taken in together and written once, so that writes do not grow with
calls. The thread of cold calls only hands over, and refuses when too much waits.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError

from kedge.errors import Code, KedgeError, RequestError
from kedge.plane.contract import CallStatus, Event
from kedge.proto import outcomes as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kedge.plane.contract import DataPlane

REPORT: Final = "/kedge.v1.Outcomes/Report"
STREAM: Final = "/kedge.v1.Outcomes/ReportStream"
METHODS: Final = frozenset({REPORT, STREAM})
MAX_OUTCOMES: Final = 10_000
"""Of one message: a message that keeps the thread from everybody else for seconds."""
MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024
"""Of one message: names of classes that are megabytes long."""
MAX_WAITING: Final = 256
"""Messages that wait: reports sent faster than they can be written."""
MAX_WAITING_BYTES: Final = 32 * 1024 * 1024
"""Of all that wait, and of messages whose calls are not ended, for the same."""
MAX_TURN: Final = 20_000
"""Outcomes taken in together: an answer that waits for everybody else's."""
TEND_SECONDS: Final = 1.0
"""Between two calls of `tend`."""
_FIELDS: Final = {
    pb.ACCEPTED: "accepted",
    pb.LATE: "late",
    pb.DUPLICATE: "duplicate",
    pb.EXPIRED: "expired",
    pb.FORGED: "forged",
    pb.UNKNOWN_BUNDLE: "unknown_bundle",
    pb.INVALID: "invalid",
}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Waiting:
    """A message, or with `payload` None the end of a stream."""

    call: int
    payload: bytes | None
    last: bool


class OutcomeCalls:
    """Answers `kedge.v1.Outcomes` for any plane. Its thread runs from `start` to `stop`.

    Args:
        plane: whose `reply` carries the answers.
        take: takes outcomes in, all or none, and returns an `OutcomeStatus` each; raises `KedgeError`.
        tend: called on the same thread every second: what is due with time.
    """

    def __init__(
        self, plane: DataPlane, take: Callable[[Sequence[pb.Outcome]], Sequence[int]], tend: Callable[[], object]
    ) -> None:
        self._plane = plane
        self._take = take
        self._tend = tend
        self._changed = threading.Condition()
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._open: dict[int, bytes | None] = {}
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="kedge-outcomes", daemon=True)

    def start(self) -> None:
        """Begin; once."""
        self._thread.start()

    def stop(self) -> None:
        """End after the turn under way; what waits was not taken."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def event(self, call: int, event: Event, method: str, payload: bytes) -> None:
        """Take one event of a call of `METHODS`; on the thread of cold calls. Raises `RequestError`: it is refused."""
        if event is Event.OPEN:
            with self._changed:
                self._open[call] = None
        elif event is Event.CANCEL:
            with self._changed:
                self._close(call)
        elif method == STREAM:
            self._wait(_Waiting(call, payload if event is Event.MESSAGE else None, last=event is Event.HALF_CLOSE))
        elif event is Event.MESSAGE:
            self._hold(call, payload)
        else:
            with self._changed:
                if call not in self._open:
                    return
                message, self._open[call] = self._open[call], None
                self._bytes -= len(message or b"")
            if message is None:
                raise self._refused(call, Code.INVALID_ARGUMENT, "this method takes one message, got none")
            self._wait(_Waiting(call, message, last=True))

    def _close(self, call: int) -> None:
        """Forget a call and what is held of it; under the condition."""
        self._bytes -= len(self._open.pop(call, None) or b"")

    def _refused(self, call: int, code: Code, text: str) -> RequestError:
        with self._changed:
            self._close(call)
        return RequestError(code, text)

    def _room(self, call: int, size: int) -> bool:
        """Whether so many bytes may be kept; under the condition. Raises `RequestError` where they never may."""
        if size > MAX_MESSAGE_BYTES:
            text = f"a report has {size:,} bytes, the limit is {MAX_MESSAGE_BYTES:,}"
            raise self._refused(call, Code.INVALID_ARGUMENT, text)
        return self._bytes + size <= MAX_WAITING_BYTES

    def _hold(self, call: int, payload: bytes) -> None:
        """Keep the message of a call until the client ends it, which it may never do."""
        with self._changed:
            if call not in self._open:
                return  # it ended or was refused, and this was still on its way
            if self._open[call] is not None:
                raise self._refused(call, Code.INVALID_ARGUMENT, "this method takes one message, got more")
            if self._room(call, len(payload)):
                self._open[call] = payload
                self._bytes += len(payload)
                return
        raise self._refused(call, Code.RESOURCE_EXHAUSTED, "too many reports wait; try again later")

    def _wait(self, item: _Waiting) -> None:
        size = len(item.payload or b"")
        with self._changed:
            if item.call not in self._open:
                return  # as above
            if item.payload is None or (self._room(item.call, size) and len(self._waiting) < MAX_WAITING):
                self._waiting.append(item)
                self._bytes += size
                self._changed.notify()
                return
        raise self._refused(item.call, Code.RESOURCE_EXHAUSTED, "too many reports wait; try again later")

    def _run(self) -> None:
        due = time.monotonic()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or self._waiting, max(0.0, due - time.monotonic()))
                if self._stopped:
                    return
            self._answer(self._turn())
            if time.monotonic() >= due:
                due = time.monotonic() + TEND_SECONDS
                try:
                    self._tend()
                except KedgeError as error:
                    log.error("outcomes: %s", error)  # noqa: TRY400 - it says all there is to say
                except Exception:
                    log.exception("outcomes could not be tended; the next time makes up for it")

    def _turn(self) -> list[tuple[_Waiting, pb.ReportRequest]]:
        """Messages that wait, of calls that are still open; those that are none are refused."""
        turn: list[tuple[_Waiting, pb.ReportRequest]] = []
        count = 0
        while count < MAX_TURN:
            with self._changed:
                if not self._waiting:
                    break
                item = self._waiting.popleft()
                self._bytes -= len(item.payload or b"")
                if item.call not in self._open:
                    continue
            try:
                request = pb.ReportRequest.FromString(item.payload or b"")
            except DecodeError:
                self._fail(item.call, Code.INVALID_ARGUMENT, "these bytes are not the message this method takes")
                continue
            if len(request.outcomes) > MAX_OUTCOMES:
                text = f"a report has {len(request.outcomes):,} outcomes, the limit is {MAX_OUTCOMES:,}; send several"
                self._fail(item.call, Code.INVALID_ARGUMENT, text)
                continue
            turn.append((item, request))
            count += len(request.outcomes)
        return turn

    def _answer(self, turn: Sequence[tuple[_Waiting, pb.ReportRequest]]) -> None:
        outcomes = [outcome for _, request in turn for outcome in request.outcomes]
        try:
            statuses = self._take(outcomes) if outcomes else ()
        except KedgeError as error:
            log.error("outcomes: %s", error)  # noqa: TRY400 - it says all there is to say
            self._fail_all(turn, error.code, "outcomes cannot be written now; the server's log says why, try again")
            return
        except Exception:
            log.exception("outcomes could not be taken")
            self._fail_all(turn, Code.INTERNAL, "internal fault; the server's log says more")
            return
        at = 0
        for item, request in turn:
            mine = statuses[at : at + len(request.outcomes)]
            at += len(request.outcomes)
            if item.last:
                with self._changed:
                    self._close(item.call)
            payload = None if item.payload is None else _response(mine, each=request.statuses).SerializeToString()
            self._plane.reply(item.call, payload, last=item.last)

    def _fail_all(self, turn: Sequence[tuple[_Waiting, pb.ReportRequest]], code: Code, text: str) -> None:
        for call in dict.fromkeys(item.call for item, _ in turn):
            self._fail(call, code, text)

    def _fail(self, call: int, code: Code, text: str) -> None:
        with self._changed:
            self._close(call)
        self._plane.reply(call, None, last=True, status=CallStatus(code.value, text))


def _response(statuses: Sequence[int], *, each: bool) -> pb.ReportResponse:
    response = pb.ReportResponse(statuses=statuses if each else ())
    for status, count in Counter(statuses).items():
        setattr(response, _FIELDS[status], count)
    return response
