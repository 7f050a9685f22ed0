"""From snapshots of the plane to the evidence of a rollout, stretch by stretch.

A stretch is an epoch in which the shares did not change. While it lasts, its cells are read as they are. Once it is
over, requests picked under it are still under way, and the plane adds its cells to those of closed epochs: what that
sum gained since the stretch began is the stretch's, until the next one is over too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from kedge.plane.cells import FOLDED
from kedge.plane.contract import Arm
from kedge.plane.evidence import Evidence
from kedge.rollout.reading import ConfidenceStep, StepEvidence

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from kedge.plane.cells import Cell, CellKey

    Tops = Callable[[str, Cell], NDArray[np.int64]]


def _no_tops(_: str, __: Cell) -> NDArray[np.int64]:
    return np.zeros(0, dtype=np.int64)


@dataclass
class _Sums:
    """Of candidate and control: evidence, and rows by top probability."""

    evidence: list[Evidence] = field(default_factory=lambda: [Evidence.empty(), Evidence.empty()])
    tops: list[NDArray[np.int64]] = field(default_factory=lambda: [np.zeros(1, np.int64)] * 2)

    def __sub__(self, other: _Sums) -> _Sums:
        return _Sums(
            [one - before for one, before in zip(self.evidence, other.evidence, strict=True)],
            [one - before for one, before in zip(self.tops, other.tops, strict=True)],
        )

    def __add__(self, other: _Sums) -> _Sums:
        return _Sums(
            [one + more for one, more in zip(self.evidence, other.evidence, strict=True)],
            [one + more for one, more in zip(self.tops, other.tops, strict=True)],
        )


@dataclass
class _Stretch:
    """`before`: what candidate and control had counted in closed epochs when it began; None until it was looked at."""

    index: int
    share: float
    epoch: int
    before: _Sums | None = None
    counted: _Sums = field(default_factory=_Sums)


class Gathering:
    """Evidence of one rollout. Used under the manager's lock.

    Args:
        candidate, control: bundle ids.
        kept: evidence of stretches that were over when the server last ended.
        shadow: the shadow's, of then.
        tops: rows by top probability in a bundle's cell; empty where it has no classes.
    """

    def __init__(
        self,
        candidate: str,
        control: str,
        kept: tuple[StepEvidence, ...] = (),
        shadow: Evidence | None = None,
        tops: Tops = _no_tops,
    ) -> None:
        self.candidate = candidate
        self._control = control
        self._tops = tops
        self._over = [_Stretch(s.index, s.share, 0, counted=_Sums([s.canary, s.control])) for s in kept]
        if shadow is not None:
            self._over.append(_Stretch(0, 0.0, 0, counted=_Sums([shadow, Evidence.empty()])))
        self._open: list[_Stretch] = []

    def begin(self, index: int, share: float, epoch: int) -> None:
        """A new stretch is in force: the one before is over, but for its last requests.

        Args:
            index: of the step.
            share: of the candidate; 0 is a shadow's.
            epoch: of the route.
        """
        self._open.append(_Stretch(index, share, epoch))
        if len(self._open) > 2:
            self._over.append(self._open.pop(0))

    def again(self, epoch: int) -> None:
        """The stretch under way goes on under another epoch."""
        if self._open:
            self.begin(self._open[-1].index, self._open[-1].share, epoch)

    def look(self, cells: Mapping[CellKey, Cell]) -> None:
        """Take in a snapshot."""
        for i, stretch in enumerate(self._open):
            if i + 1 < len(self._open):
                if stretch.before is not None:
                    now = self._sum(cells, stretch.share, FOLDED, self._open[i + 1].epoch - 1)
                    stretch.counted = now - stretch.before
            else:
                stretch.before = self._sum(cells, stretch.share, FOLDED, stretch.epoch - 1)
                stretch.counted = self._sum(cells, stretch.share, stretch.epoch, stretch.epoch)

    def steps(self) -> tuple[StepEvidence, ...]:
        """Evidence by step and share, in order of time; stretches of the same step and share are added up."""
        return tuple(
            StepEvidence(index, share, *sums.evidence) for (index, share), sums in self._stages().items() if share > 0
        )

    def confidence(self) -> tuple[ConfidenceStep, ...]:
        """Top probabilities of the same steps; empty where the bundles predict no classes."""
        found = (sums.tops for (_, share), sums in self._stages().items() if share > 0)
        return tuple(ConfidenceStep(*tops) for tops in found if tops[0].shape == tops[1].shape and tops[0].size > 1)

    def shadow(self) -> Evidence | None:
        """What the shadow's cells say; None where there was none."""
        return next((sums.evidence[0] for (_, share), sums in self._stages().items() if share == 0), None)

    def _stages(self) -> dict[tuple[int, float], _Sums]:
        found: dict[tuple[int, float], _Sums] = {}
        for stretch in (*self._over, *self._open):
            place = stretch.index, stretch.share
            found[place] = found[place] + stretch.counted if place in found else stretch.counted
        return found

    def _sum(self, cells: Mapping[CellKey, Cell], share: float, first: int, last: int) -> _Sums:
        """Over epochs; nobody stands against a shadow."""
        wanted = [(self.candidate, Arm.CANARY), (self._control, Arm.CONTROL)]
        if share == 0:
            wanted = [(self.candidate, Arm.SHADOW)]
        sums = _Sums()
        for (bundle, arm, epoch), cell in cells.items():
            if first <= epoch <= last and (bundle, arm) in wanted:
                side = wanted.index((bundle, arm))
                sums.evidence[side] = sums.evidence[side] + Evidence.parse(cell.evidence)
                if share > 0 and (tops := self._tops(bundle, cell)).size:
                    sums.tops[side] = sums.tops[side] + tops
        return sums
