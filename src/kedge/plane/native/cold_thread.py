"""The one thread on which cold calls are answered, and what the runtime has to say is logged."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

from kedge.errors import Code
from kedge.plane.contract import ColdCallback, Event
from kedge.plane.text import one_line, quoted

if TYPE_CHECKING:
    from kedge._dataplane import Plane

_log: Final = logging.getLogger("kedge.plane")
_EVENTS: Final = (Event.OPEN, Event.MESSAGE, Event.HALF_CLOSE, Event.CANCEL)
_LOG_LINE: Final = len(_EVENTS)
_LEVELS: Final = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)


class ColdThread:
    """Takes events of cold calls from the extension and hands them to a callback.

    Args:
        plane: the extension; its `stop` ends the thread.
    """

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self.callback: ColdCallback | None = None
        self._calls: dict[int, tuple[str, dict[str, str]]] = {}
        self._thread = threading.Thread(target=self._deliver, name="kedge-cold", daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait for the thread; the extension must have been stopped."""
        self._thread.join()

    def _deliver(self) -> None:
        while (event := self._plane.next_cold()) is not None:
            number, kind, method, metadata, payload = event
            if kind == _LOG_LINE:
                _log.log(_LEVELS[number], "%s: %s", method, one_line(payload.decode(errors="replace")))
                continue
            self._hand_over(number, _EVENTS[kind], method, metadata, payload)

    def _hand_over(
        self, number: int, event: Event, method: str, metadata: list[tuple[bytes, bytes]], payload: bytes
    ) -> None:
        if event is Event.OPEN:
            self._calls[number] = (method, _text(metadata))
        known = self._calls.get(number)
        if known is None:
            return  # refused when it was opened
        if event is Event.CANCEL:
            del self._calls[number]
        if self.callback is None:
            self.reply(number, None, True, Code.UNIMPLEMENTED.value, f"method {quoted(known[0])} is not implemented")
            return
        try:
            self.callback(number, event, *known, payload)
        except Exception:  # noqa: BLE001  one bad call must not end the thread
            _log.exception("a cold call failed in the server")
            self.reply(number, None, True, Code.INTERNAL.value, "the server failed on this call")

    def reply(self, call: int, payload: bytes | None, last: bool, code: int, text: str) -> None:
        """Send on a call; see `DataPlane.reply`."""
        if last:
            self._calls.pop(call, None)
        self._plane.reply(call, payload, last, code, text)


def _text(metadata: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers that are text; binary ones, whose names end in -bin, are left out."""
    return {
        name.decode("ascii", errors="replace"): value.decode("ascii", errors="replace")
        for name, value in metadata
        if not name.endswith(b"-bin")
    }
