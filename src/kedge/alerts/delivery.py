"""Which message is tried when: in order within a lane, with growing pauses, and no sink waits for another's pauses."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kedge.alerts.sinks.base import Delivered, Refused, Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kedge.alerts.model import Notification
    from kedge.alerts.outbox import Item, Outbox
    from kedge.alerts.sinks.base import Outcome, Sink

FIRST_PAUSE: Final = 1.0
LAST_PAUSE: Final = 60.0
"""Seconds after the first failure, doubled with each more, and the most: so soon a sink that returned is tried."""

log = logging.getLogger(__name__)


@dataclass
class _Pause:
    failures: int = 0
    until: float = 0.0


class Delivery:
    """Tries messages one at a time. Used by one thread; `counts` by any.

    A sink that fails pauses as a whole, so that one that hangs costs the others one timeout a pause. The lane of the
    message that failed pauses too, so that a message some server cannot stomach does not hold up those behind it.

    Args:
        outbox: where messages wait.
        sinks: by name.
        clock: seconds since 1970, for what messages say.
        monotonic: seconds, for pauses.
        random: uniform in [0, 1): pauses are spread over half their length, so that servers do not return in step.
    """

    def __init__(
        self,
        outbox: Outbox,
        sinks: Mapping[str, Sink],
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        self._outbox = outbox
        self._sinks = dict(sinks)
        self._clock = clock
        self._monotonic = monotonic
        self._random = random
        self._pauses = {name: _Pause() for name in sinks}
        self._lanes: dict[tuple[str, str], _Pause] = {}
        self._attempts = 0
        self._tried: dict[str, int] = {}
        self._lock = threading.Lock()
        self._counts = Counter[tuple[str, str]]()

    def counts(self) -> dict[tuple[str, str], int]:
        """Attempts since the start, by sink and outcome: ``delivered``, ``retried``, ``refused``."""
        with self._lock:
            return dict(self._counts)

    def attempt(self) -> float | None:
        """Try the message whose turn it is.

        Returns:
            Seconds until another one may be tried; 0 after an attempt, None if nothing waits.

        Raises:
            AlertStoreError: the outbox cannot be read or written; a message may then be delivered twice.
        """
        heads = [head for head in self._outbox.heads() if head.sink in self._sinks]
        if not heads:
            return None
        now = self._monotonic()
        self._lanes = {lane: self._lanes[lane] for head in heads if (lane := (head.sink, head.key)) in self._lanes}
        ready = [head for head in heads if self._due(head) <= now]
        if not ready:
            return min(map(self._due, heads)) - now
        # Sinks take turns: one with a thousand messages must not keep the others waiting. Within a sink, lanes that
        # failed less go first: after its pause, the message that caused the pause must not be the next one again.
        item = min(ready, key=lambda head: (self._tried.get(head.sink, 0), self._failures(head), head.id))
        self._attempts += 1
        self._tried[item.sink] = self._attempts
        message = self._outbox.get(item)
        if message is not None:
            self._settle(item, message, self._deliver(message))
        return 0.0

    def _due(self, head: Item) -> float:
        lane = self._lanes.get((head.sink, head.key))
        return max(self._pauses[head.sink].until, lane.until if lane else 0.0)

    def _failures(self, head: Item) -> int:
        lane = self._lanes.get((head.sink, head.key))
        return lane.failures if lane else 0

    def _deliver(self, message: Notification) -> Outcome:
        try:
            return self._sinks[message.sink].deliver(message, self._clock())
        except Exception as error:  # a fault of ours in one sink must not end the others' deliveries
            log.exception("a sink failed in an unforeseen way")
            return Retry(f"{type(error).__name__}: {error}")

    def _settle(self, item: Item, message: Notification, outcome: Outcome) -> None:
        lane = (item.sink, item.key)
        data: dict[str, object] = {"sink": item.sink, "alert": message.alert.summary, "id": message.id}
        if isinstance(outcome, Retry):
            pause, sink = self._lanes.setdefault(lane, _Pause()), self._pauses[item.sink]
            for each in (pause, sink):
                each.failures += 1
                each.until = self._monotonic() + max(self._pause(each.failures), outcome.after)
            self._count(item.sink, "retried")
            data |= {"reason": outcome.reason, "attempts": pause.failures}
            log.warning("an alert could not be delivered; it is kept and tried again", extra={"data": data})
            return
        self._lanes.pop(lane, None)
        self._pauses[item.sink] = _Pause()
        self._outbox.remove(item)
        match outcome:
            case Delivered():
                self._count(item.sink, "delivered")
            case Refused(reason):
                self._count(item.sink, "refused")
                data |= {"reason": reason}
                log.error("an alert was refused for good; it is not sent again", extra={"data": data})

    def _pause(self, failures: int) -> float:
        whole = min(LAST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 32))
        return whole * (0.5 + 0.5 * self._random())

    def _count(self, sink: str, outcome: str) -> None:
        with self._lock:
            self._counts[sink, outcome] += 1
