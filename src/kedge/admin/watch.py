"""`WatchVerdicts`: what stands, then what changed, to each of a bounded number of watchers."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Final

from kedge.admin.messages import standing_message
from kedge.errors import Code, RequestError
from kedge.proto import admin as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kedge.rollout.view import View

WATCHERS: Final = 8
"""At once; each holds a thread of the admin port."""
PATIENCE: Final = 1.0
"""Seconds between two looks whether the watcher is still there."""


class Watch:
    """Streams of verdicts. Thread-safe.

    Args:
        view: what is watched.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._free = threading.BoundedSemaphore(WATCHERS)
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End every stream within a second."""
        self._stopped.set()

    def stream(self, request: pb.WatchVerdictsRequest, active: Callable[[], bool]) -> Iterator[pb.Verdicts]:
        """Messages until `active` says no.

        Raises:
            NotLiveError: no such model is live.
            RequestError: too many watch already.
        """
        if not self._free.acquire(blocking=False):
            raise RequestError(Code.RESOURCE_EXHAUSTED, f"{WATCHERS} watch verdicts already; end one of them first")
        with contextlib.ExitStack() as held:
            held.callback(self._free.release)
            yield from self._messages(request.model, active)

    def _messages(self, model: str, active: Callable[[], bool]) -> Iterator[pb.Verdicts]:
        evaluator, version, known = self._view.evaluator, -1, dict[tuple[str, str, str, str], pb.Standing]()
        while active() and not self._stopped.is_set():
            now = evaluator.wait(version, PATIENCE)
            if now == version:
                continue
            first, version = version < 0, now
            found = {item.key: standing_message(item) for item in self._view.verdicts(model)}
            complete = first or not known.keys() <= found.keys()
            changed = [item for key, item in found.items() if complete or _differs(known.get(key), item)]
            known = found
            if complete or changed:
                yield pb.Verdicts(time=self._view.clock(), complete=complete, standings=changed)


def _differs(before: pb.Standing | None, now: pb.Standing) -> bool:
    """Whether a watcher should hear of it: a verdict, its cause or what decided; not every new figure."""
    return before is None or (before.verdict, before.cause, before.test) != (now.verdict, now.cause, now.test)
