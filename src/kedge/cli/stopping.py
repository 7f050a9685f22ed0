"""SIGTERM and SIGINT: the first asks a server to drain, the second stops it at once."""

from __future__ import annotations

import signal
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from types import TracebackType

WOKEN: Final = 0
"""What `Stopping.wait` returns for `Stopping.wake`; no signal has this number."""


class Stopping:
    """Queues the signals that ask for an end, while the block lasts.

    A handler runs between two bytecodes of the main thread, which may be anywhere, inside `wait` too. `SimpleQueue` is
    made for that; an `Event` is not: its lock may be held by the very code that the handler interrupts.
    """

    def __init__(self) -> None:
        self._numbers: SimpleQueue[int] = SimpleQueue()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stopping:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, lambda number, _frame: self._numbers.put(number))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def wait(self) -> int:
        """The number of the next signal, or `WOKEN`. Waits for either."""
        return self._numbers.get()

    def wake(self) -> None:
        """Let `wait` return `WOKEN`; from any thread."""
        self._numbers.put(WOKEN)
