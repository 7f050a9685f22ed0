"""`WatchVerdicts`: what stands, then what changed, to each of a bounded number of watchers."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from kedge.admin.handlers import Method, Places
from kedge.admin.messages import standing_message
from kedge.proto import admin as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kedge.admin.handlers import Call
    from kedge.monitor.verdict import Judgement
    from kedge.rollout.view import View

WATCHERS: Final = 8
"""At once; each holds a thread of the admin port."""
PATIENCE: Final = 1.0
"""Seconds between two looks whether the watcher is still there."""


class Watch:
    """Streams of verdicts. Thread-safe.

    Args:
        view: what is watched.
        labelled: verdicts on outcomes, which are renewed every few seconds; it must not block.
    """

    def __init__(self, view: View, labelled: Callable[[], Sequence[Judgement]] = tuple) -> None:
        self._view = view
        self._labelled = labelled
        self._places = Places(WATCHERS, "watch verdicts")
        self._stopped = threading.Event()

    def methods(self) -> dict[str, Method]:
        """By name."""
        return {"WatchVerdicts": Method(pb.WatchVerdictsRequest, self.stream, streams=True)}

    def stop(self) -> None:
        """End every stream within a second."""
        self._stopped.set()

    def stream(self, request: pb.WatchVerdictsRequest, call: Call) -> Iterator[pb.Verdicts]:
        """Answer WatchVerdicts."""
        with self._places.one():
            yield from self._messages(request.model, call.active)

    def _messages(self, model: str, active: Callable[[], bool]) -> Iterator[pb.Verdicts]:
        evaluator, version, known = self._view.evaluator, -1, dict[tuple[str, str, str, str], pb.Standing]()
        labelled: Sequence[Judgement] = ()
        while active() and not self._stopped.is_set():
            now, labels = evaluator.wait(version, PATIENCE), self._labelled()
            if (now, labels) == (version, labelled):
                continue
            first, version, labelled = version < 0, now, labels
            live = {live.bundle.id for live in self._view.live(model)}
            said = (*self._view.verdicts(model), *(item for item in labels if item.bundle in live))
            found = {item.key: standing_message(item) for item in said}
            complete = first or not known.keys() <= found.keys()
            changed = [item for key, item in found.items() if complete or _differs(known.get(key), item)]
            known = found
            if complete or changed:
                yield pb.Verdicts(time=self._view.clock(), complete=complete, standings=changed)


def _differs(before: pb.Standing | None, now: pb.Standing) -> bool:
    """Whether a watcher should hear of it: a verdict, its cause or what decided; not every new figure."""
    return before is None or (before.verdict, before.cause, before.test) != (now.verdict, now.cause, now.test)
