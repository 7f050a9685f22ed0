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
from kedge.rollout.reading import ConfidenceStep, Judged, StepEvidence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

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

    def expected_slow(self) -> float:
        """Of the slow units here, how many equal arms have on the candidate; all where nothing else can be told."""
        slow = sum(arm.request_events("slow") for arm in self.evidence)
        candidate, both = self.evidence[0].judged, sum(arm.judged for arm in self.evidence)
        return slow * candidate / both if both > 0 else float(slow)

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
    """`before`: what candidate and control had counted in closed epochs when it began; None until it was looked at.
    `lines`: of slow runs, in force while it lasts, and `together`: units one such run may strike. `judged` and
    `covered` are of what was kept over a restart.
    """

    index: int
    share: float
    epoch: int
    lines: tuple[int, ...] = ()
    together: int = 1
    before: _Sums | None = None
    counted: _Sums = field(default_factory=_Sums)
    expected_slow: float = 0.0
    judged: tuple[Judged, ...] | None = None
    covered: tuple[int, int] | None = None

    @property
    def place(self) -> tuple[int, float, tuple[int, ...], int]:
        """What it shares with stretches that it may be added up with."""
        return self.index, self.share, self.lines, self.together

    def take(self, counted: _Sums) -> None:
        """What it has counted by now; what came since the last look is compared for itself."""
        self.expected_slow += (counted - self.counted).expected_slow()
        self.counted = counted

    def seen(self) -> tuple[int, int]:
        """Units of the candidate that ran, and of them judged for slow runs."""
        candidate = self.counted.evidence[0]
        return (candidate.ran, candidate.judged) if self.covered is None else self.covered

    def under_its_lines(self) -> Judged:
        """What was judged for slow runs while it lasted."""
        candidate, control = self.counted.evidence
        slow = candidate.request_events("slow"), control.request_events("slow")
        return Judged(candidate.judged, slow[0], control.judged, slow[1], self.expected_slow, self.together)


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
        self._over = [
            _Stretch(
                s.index,
                s.share,
                0,
                counted=_Sums([s.canary, s.control]),
                judged=s.judged,
                covered=s.covered,
            )
            for s in kept
        ]
        if shadow is not None:
            self._over.append(_Stretch(0, 0.0, 0, counted=_Sums([shadow, Evidence.empty()])))
        self._open: list[_Stretch] = []

    def begin(self, index: int, share: float, epoch: int, lines: tuple[int, ...] = (), together: int = 1) -> None:
        """A new stretch is in force: the one before is over, but for its last requests.

        Args:
            index: of the step.
            share: of the candidate; 0 is a shadow's.
            epoch: of the route.
            lines: of slow runs, as `contract.Route.slow_ns` has them.
            together: units that one slow run may strike at once.
        """
        self._open.append(_Stretch(index, share, epoch, lines, together))
        if len(self._open) > 2:
            self._close(self._open.pop(0))

    def _close(self, stretch: _Stretch) -> None:
        """Keep what a stretch counted; with the one before where they are alike, as each second on a full disk."""
        if stretch.before is None:  # it was over before anybody looked
            return
        last = self._over[-1] if self._over else None
        if last is not None and last.judged is None and last.place == stretch.place:
            last.counted += stretch.counted
            last.expected_slow += stretch.expected_slow
        else:
            self._over.append(stretch)

    def again(self, epoch: int) -> None:
        """The stretch under way goes on under another epoch, after one between that was taken back.

        What was drawn in that one was drawn at another share, and once folded it cannot be told from the last requests
        before it: neither counts, since a little evidence less does no harm and a wrong share condemns an equal canary.
        """
        if self._open:
            last = self._open[-1]
            for one in (epoch - 1, epoch):
                self.begin(last.index, last.share, one, last.lines, last.together)

    def look(self, cells: Mapping[CellKey, Cell]) -> None:
        """Take in a snapshot."""
        for i, stretch in enumerate(self._open):
            if i + 1 < len(self._open):
                if stretch.before is not None:
                    now = self._sum(cells, stretch.share, FOLDED, self._open[i + 1].epoch - 1)
                    stretch.take(now - stretch.before)
            else:
                stretch.before = self._sum(cells, stretch.share, FOLDED, stretch.epoch - 1)
                stretch.take(self._sum(cells, stretch.share, stretch.epoch, stretch.epoch))

    def steps(self) -> tuple[StepEvidence, ...]:
        """Evidence by step and share, in order of time; stretches of the same step and share are added up."""
        found = []
        for (index, share), sums in self._stages().items():
            if share > 0:
                parts = [one for one in (*self._over, *self._open) if (one.index, one.share) == (index, share)]
                ran, judged = np.sum([one.seen() for one in parts if one.lines == parts[-1].lines], axis=0).tolist()
                canary, control = sums.evidence
                found.append(StepEvidence(index, share, canary, control, _judged(parts), (ran, judged)))
        return tuple(found)

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


def _judged(stretches: Iterable[_Stretch]) -> tuple[Judged, ...]:
    """What was judged in these, added up where lines were the same."""
    kept: list[Judged] = []
    by_lines: dict[tuple[tuple[int, ...], int], Judged] = {}
    for one in stretches:
        if one.judged is not None:
            kept += one.judged
            continue
        place, found = (one.lines, one.together), one.under_its_lines()
        by_lines[place] = by_lines[place] + found if place in by_lines else found
    return (*kept, *(found for found in by_lines.values() if found.canary or found.control))
