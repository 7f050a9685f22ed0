"""What can be asked of a running server: one read-only face for admin service, metrics and cold RPCs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from kedge.errors import BundleError
from kedge.kernel.snapshot import Counts
from kedge.monitor.drift import report
from kedge.monitor.evaluator import Evaluator
from kedge.monitor.frame import Frame
from kedge.monitor.measure import measure
from kedge.monitor.panes import Key
from kedge.plane import cells

if TYPE_CHECKING:
    from collections.abc import Callable

    from kedge.bundle.contents import Bundle
    from kedge.bundle.store import Store
    from kedge.kernel.contract import Kernel
    from kedge.monitor.chart_store import ChartStore
    from kedge.monitor.measure import Measures
    from kedge.monitor.panes import Panes
    from kedge.monitor.report import Report
    from kedge.monitor.verdict import Judgement
    from kedge.plane.contract import DataPlane, RouteTable
    from kedge.rollout.live import Live
    from kedge.rollout.manager import Rollouts

SERVED_ARMS: Final = ("live", "control", "canary", "pinned")
"""Arms whose answers reach a client: all but shadow."""


class View:
    """Live bundles, rollouts, counts, drift and verdicts. Thread-safe.

    Args:
        plane: whose counts.
        kernel: what counts them.
        store: where bundles that counted once are looked up.
        rollouts: what is live.
        panes: counts over time.
        clock: seconds since 1970.
        ready: whether the server takes new work.
        charts: where control charts survive a restart; None forgets them.
    """

    def __init__(
        self,
        *,
        plane: DataPlane,
        kernel: Kernel,
        store: Store,
        rollouts: Rollouts,
        panes: Panes,
        clock: Callable[[], float],
        ready: Callable[[], bool],
        charts: ChartStore | None = None,
    ) -> None:
        self.plane = plane.name
        self.kernel = kernel.name
        self.kernel_isa = kernel.isa
        self.clock = clock
        self.started = clock()
        self._plane = plane
        self._store = store
        self.rollouts = rollouts
        self._panes = panes
        self._ready = ready
        self._lock = threading.Lock()
        self._frames: dict[str, Frame] = {}
        self._gone: frozenset[str] = frozenset()
        self.evaluator = Evaluator(clock, panes, self.frame, charts)

    def ready(self) -> bool:
        """Whether the server takes new work: some bundle is live and it does not drain."""
        return self._ready()

    def table(self) -> RouteTable:
        """The route table in force."""
        return self.rollouts.table()

    def stored(self) -> tuple[Bundle, ...]:
        """Every bundle in the store."""
        return tuple(self.bundle(entry.id) for entry in self._store.list())

    def snapshot(self) -> bytes:
        """The plane's counts, as `kedge.plane.cells` encodes them."""
        return self._plane.snapshot()

    def live(self, model: str = "") -> tuple[Live, ...]:
        """Live bundles by model name; with `model` that one alone. Raises `NotLiveError`."""
        return (self.rollouts.get(model),) if model else self.rollouts.live()

    def bundle(self, identity: str) -> Bundle:
        """A bundle of the store."""
        return self.frame(identity).bundle

    def totals(self) -> dict[Key, Counts]:
        """Everything counted since the server started, by bundle and arm; epochs are added up."""
        totals: dict[Key, Counts] = {}
        for (identity, arm, _), cell in cells.decode(self.snapshot()).items():
            if identity in self._gone:
                continue
            counts = Counts.parse(cell.counts, self.frame(identity).layout)
            key = Key(identity, arm.name.lower())
            totals[key] = totals[key] + counts if key in totals else counts
        return totals

    def take_pane(self) -> None:
        """Close the pane under way, so that windows reach to this moment."""
        self._panes.take(self.totals)

    def drift(self, model: str, since: float = 0.0, *, fresh: bool = True) -> Report:
        """Traffic that a model's live bundle answered since a moment (seconds since 1970) against its reference.

        Args:
            model: its name.
            since: start of the window; 0 is everything remembered.
            fresh: close the pane under way first.

        Raises:
            NotLiveError: no such model is live.
            BundleError: its bundle carries no reference.
        """
        live = self.rollouts.get(model)
        if live.bundle.distributions is None:
            raise BundleError(
                f"bundle {live.bundle.name} {live.bundle.version} carries no reference distributions, so there is no "
                "drift to measure; build it with 'data' in its spec"
            )
        if fresh:
            self.take_pane()
        keys = [Key(live.bundle.id, arm) for arm in SERVED_ARMS]
        claims = self.evaluator.claims(live.bundle.id)
        return report(self.frame(live.bundle.id), self._panes.halves(keys, since), claims)

    def effects(self, model: str, since: float) -> tuple[Frame, Counts, Measures] | None:
        """What `drift` is made of, without judgement and words, up to the last pane; None where nothing was counted.

        Raises:
            NotLiveError: no such model is live.
        """
        live = self.rollouts.get(model)
        counts = self._panes.window([Key(live.bundle.id, arm) for arm in SERVED_ARMS], since).counts
        frame = self.frame(live.bundle.id)
        return None if counts is None else (frame, counts, measure(frame, counts.words))

    def evaluate(self) -> tuple[Judgement, ...]:
        """Look at the counts once: judge every window that is full. Returns every problem that stands now."""
        return self.evaluator.tick(self.totals)

    def verdicts(self, model: str = "") -> tuple[Judgement, ...]:
        """How everything of the live bundles stands now, in every arm.

        Raises:
            NotLiveError: no such model is live.
        """
        return self.evaluator.judgements([live.bundle.id for live in self.live(model)])

    def forget(self, identity: str) -> None:
        """A bundle was deleted from the store: what it counted is of no interest any more, and cannot be read."""
        with self._lock:
            self._gone |= {identity}
            self._frames.pop(identity, None)
        self._panes.forget(identity)
        self.evaluator.forget(identity)

    def frame(self, identity: str) -> Frame:
        """A bundle of the store, prepared for comparison."""
        with self._lock:
            known = self._frames.get(identity)
            if known is None:
                known = self._frames[identity] = Frame.of(self._store.get(identity))
                self._gone -= {identity}  # it was uploaded again
            return known
