"""SIGTERM and SIGINT: the first asks a server to drain, the second stops it at once."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType


class Stopping:
    """Counts the signals that ask for an end, while the block lasts.

    Attributes:
        asked: set by the first signal.
        at_once: set by the second.
        last: number of the latest signal, or 0.
    """

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.at_once = threading.Event()
        self.last = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stopping:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._count)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _count(self, number: int, _frame: object) -> None:
        self.last = number
        (self.at_once if self.asked.is_set() else self.asked).set()
