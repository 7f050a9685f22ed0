"""What is loaded on the plane, and which of it is live."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kedge.errors import Code, KedgeError, PlaneError
from kedge.kernel.snapshot import Counts
from kedge.plane.contract import LoadOptions

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from kedge.audit.doors import Doors
    from kedge.bundle.contents import Bundle
    from kedge.kernel.contract import Layout
    from kedge.plane.cells import Cell
    from kedge.plane.contract import DataPlane, Handle
    from kedge.rollout.durations import Durations


class NotLiveError(KedgeError):
    """No bundle of this model is live."""

    code = Code.NOT_FOUND


@dataclass(frozen=True)
class Live:
    """A model's live bundle.

    Attributes:
        bundle: opened, from the store.
        handle: loaded on the plane.
        epoch: of its route.
        since: when it became live, seconds since 1970.
    """

    bundle: Bundle
    handle: Handle
    epoch: int
    since: float


class Residents:
    """Bundles that are loaded: live ones, last good ones, candidates. Used under the manager's lock, but for `load` and
    `retire`.

    Args:
        plane: where they are loaded.
        doors: what the signing policy says before one is.
        took: counts how long each load took.
    """

    def __init__(self, plane: DataPlane, doors: Doors, took: Durations) -> None:
        self._plane = plane
        self._doors = doors
        self._took = took
        self._bundles: dict[str, Bundle] = {}
        self._leaving: list[Handle] = []
        self.handles: dict[str, Handle] = {}

    def load(self, bundle: Bundle) -> Handle:
        """Load, replay golden rows and warm up; takes its time, and needs no lock.

        Raises:
            ModelLoadError: it does not load, or its golden rows do not come out.
            SignatureError: the signing policy refuses it.
        """
        self._doors.check(bundle)
        started = time.monotonic()
        handle = self._plane.load(bundle.directory, LoadOptions())
        self._took.add(time.monotonic() - started)
        return handle

    def add(self, bundle: Bundle, handle: Handle) -> None:
        """It is loaded. A second load of the same bundle gives way to the first."""
        if bundle.id in self.handles:
            self._leaving.append(handle)
            return
        self._bundles[bundle.id], self.handles[bundle.id] = bundle, handle

    def bundle(self, identity: str) -> Bundle:
        """A loaded bundle."""
        return self._bundles[identity]

    def let_go(self, wanted: Collection[str]) -> None:
        """What nobody needs is resident no more, and `retire` will unload it."""
        for identity in [one for one in self.handles if one not in wanted]:
            self._leaving.append(self.handles.pop(identity))
            del self._bundles[identity]

    def retire(self) -> None:
        """Unload what was let go of; what still runs requests is tried again the next time. For any thread, no lock."""
        for handle in tuple(self._leaving):
            try:
                self._plane.retire(handle, 0.0)
            except PlaneError:
                continue
            with contextlib.suppress(ValueError):  # another thread was first
                self._leaving.remove(handle)


class Tops:
    """Rows by top probability in the cells of resident bundles.

    Args:
        residents: whose layouts are needed.
    """

    def __init__(self, residents: Residents) -> None:
        self._residents = residents
        self._layouts: dict[str, Layout] = {}

    def __call__(self, identity: str, cell: Cell) -> NDArray[np.int64]:
        """[32] rows; [0] where the bundle predicts no classes, or is loaded no more."""
        if identity not in self._layouts:
            if identity not in self._residents.handles:
                return np.zeros(0, dtype=np.int64)
            self._layouts[identity] = self._residents.bundle(identity).layout()
        return Counts.parse(cell.counts, self._layouts[identity]).top
