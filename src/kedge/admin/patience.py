"""Ends calls whose caller has gone silent: a thread that waits for the next message cannot give up by itself."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

_T = TypeVar("_T")


def impatient(messages: Iterator[_T], seconds: float, end: Callable[[], object]) -> Generator[_T, None, None]:
    """These messages; where the next one takes longer than `seconds`, `end` is called, from another thread.

    Time that whoever reads takes between two messages does not count.

    Args:
        messages: of a call.
        seconds: to wait for each.
        end: ends the call, so that waiting for its next message fails.
    """
    waiting = _Waiting(seconds, end)
    watch = threading.Thread(target=waiting.watch, name="kedge-impatient", daemon=True)
    watch.start()
    try:
        while True:
            waiting.begin()
            try:
                message = next(messages)
            except StopIteration:
                return
            finally:
                waiting.came()
            yield message
    finally:
        waiting.stop()
        watch.join()


class _Waiting:
    """Numbers each wait, so that the thread that watches tells one from the next."""

    def __init__(self, seconds: float, end: Callable[[], object]) -> None:
        self._seconds = seconds
        self._end = end
        self._changed = threading.Condition()
        self._number = 0
        self._open = False
        self._stopped = False

    def begin(self) -> None:
        with self._changed:
            self._number += 1
            self._open = True
            self._changed.notify()

    def came(self) -> None:
        with self._changed:
            self._open = False

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def watch(self) -> None:
        with self._changed:
            while not self._stopped:
                number = self._number
                while not self._stopped and self._number == number:
                    if not self._changed.wait(self._seconds) and self._open and self._number == number:
                        self._end()
                        return
