"""What can be asked of a running server: one read-only face for admin service, metrics and cold RPCs."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kedge.kernel.snapshot import Counts
from kedge.monitor.drift import judge
from kedge.monitor.panes import Key
from kedge.plane import cells

if TYPE_CHECKING:
    from collections.abc import Callable

    from kedge.bundle.contents import Bundle
    from kedge.bundle.store import Store
    from kedge.kernel.contract import Kernel, Layout
    from kedge.monitor.panes import Panes
    from kedge.monitor.report import Report
    from kedge.plane.contract import DataPlane, RouteTable
    from kedge.rollout.live import Deployments, Live

SERVED_ARMS: Final = ("live", "control", "canary", "pinned")
"""Arms whose answers reach a client: all but shadow."""


@dataclass(frozen=True)
class Watched:
    """A bundle, and how its counts are laid out."""

    bundle: Bundle
    layout: Layout


class View:
    """Live bundles, counts and drift. Thread-safe.

    Args:
        plane: whose counts.
        kernel: what counts them.
        store: where bundles that counted once are looked up.
        deployments: what is live.
        panes: counts over time.
        clock: seconds since 1970.
        ready: whether the server takes new work.
    """

    def __init__(
        self,
        *,
        plane: DataPlane,
        kernel: Kernel,
        store: Store,
        deployments: Deployments,
        panes: Panes,
        clock: Callable[[], float],
        ready: Callable[[], bool],
    ) -> None:
        self.plane = plane.name
        self.kernel = kernel.name
        self.kernel_isa = kernel.isa
        self.clock = clock
        self.started = clock()
        self._plane = plane
        self._store = store
        self._deployments = deployments
        self._panes = panes
        self._ready = ready
        self._lock = threading.Lock()
        self._watched: dict[str, Watched] = {}

    def ready(self) -> bool:
        """Whether the server takes new work: some bundle is live and it does not drain."""
        return self._ready()

    def table(self) -> RouteTable:
        """The route table in force."""
        return self._deployments.table()

    def stored(self) -> tuple[Bundle, ...]:
        """Every bundle in the store."""
        return tuple(self.bundle(entry.id) for entry in self._store.list())

    def snapshot(self) -> bytes:
        """The plane's counts, as `kedge.plane.cells` encodes them."""
        return self._plane.snapshot()

    def live(self, model: str = "") -> tuple[Live, ...]:
        """Live bundles by model name; with `model` that one alone. Raises `NotLiveError`."""
        return (self._deployments.get(model),) if model else self._deployments.live()

    def bundle(self, identity: str) -> Bundle:
        """A bundle of the store."""
        return self._watch(identity).bundle

    def totals(self) -> dict[Key, Counts]:
        """Everything counted since the server started, by bundle and arm; epochs are added up."""
        totals: dict[Key, Counts] = {}
        for (identity, arm, _), data in cells.decode(self.snapshot()).items():
            counts = Counts.parse(data, self._watch(identity).layout)
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
        live = self._deployments.get(model)
        if fresh:
            self.take_pane()
        keys = [Key(live.bundle.id, arm) for arm in SERVED_ARMS]
        return judge(live.bundle, self._panes.window(keys, since))

    def _watch(self, identity: str) -> Watched:
        with self._lock:
            known = self._watched.get(identity)
            if known is None:
                bundle = self._store.get(identity)
                known = self._watched[identity] = Watched(bundle, bundle.layout())
            return known
