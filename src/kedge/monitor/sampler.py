"""The thread that closes a pane every few seconds."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

PANE_SECONDS: Final = 10.0

log = logging.getLogger(__name__)


class Sampler:
    """Calls `take` every `seconds` until stopped. A failure is logged and the next pane is tried.

    Args:
        take: closes a pane.
        seconds: between two panes.
    """

    def __init__(self, take: Callable[[], None], seconds: float = PANE_SECONDS) -> None:
        self._take = take
        self._seconds = seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kedge-sampler", daemon=True)

    def start(self) -> None:
        """Begin; once."""
        self._thread.start()

    def stop(self) -> None:
        """End, after the pane under way."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(self._seconds):
            try:
                self._take()
            except Exception:
                log.exception("a pane could not be taken; its counts go into the next one")
