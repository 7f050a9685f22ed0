"""Takes labels in: which are counted, what they are compared with, and where they add up."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from kedge.monitor.outcomes import cohorts, units
from kedge.monitor.outcomes import counts as tally
from kedge.monitor.outcomes.adapt import Adaptive
from kedge.monitor.outcomes.batch import Kind, Seal, Status, numbers, truths
from kedge.monitor.outcomes.coverage import held_classes, held_values
from kedge.monitor.outcomes.ledger import Ledger, label_key
from kedge.monitor.outcomes.tables import CellKey, SliceKey, Units
from kedge.monitor.outcomes.target import HORIZON

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from kedge.monitor.outcomes.batch import Label, Opened
    from kedge.monitor.outcomes.counts import Counts
    from kedge.monitor.outcomes.database import Database
    from kedge.monitor.outcomes.target import Target


class _Turn:
    """What one call of `Book.take` adds."""

    def __init__(self) -> None:
        self.cells: dict[CellKey, Counts] = {}
        self.slices: dict[SliceKey, Counts] = {}
        self.units: dict[tuple[str, str, int, int], Units] = {}

    def add(self, key: CellKey, counts: Counts) -> None:
        self.cells[key] = self.cells[key] + counts if key in self.cells else counts


class Book:
    """Counts labels once each, and durably before it says so. Used by one thread.

    Args:
        database: of outcomes.
        target: what is known of the bundle whose id begins with these 16 hex digits; None for one that is not here or
            collects no outcomes.
        splits: how traffic was randomised.
        arms: names of the arms by number.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        database: Database,
        target: Callable[[str], Target | None],
        splits: units.Splits,
        arms: Sequence[str],
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._target = target
        self._splits = splits
        self._arms = tuple(arms)
        self._clock = clock
        self._ledger = Ledger(database)
        self._adaptive = Adaptive(database)

    def take(self, opened: Opened, labels: Sequence[Label]) -> list[Status]:
        """Take labels in, all of them or none.

        Args:
            opened: n prediction ids.
            labels: n labels.

        Returns:
            What became of each; when this returns it is on disk.

        Raises:
            OutcomesError: it cannot be written; nothing was taken, and the same call may be made again.
        """
        now, turn = self._clock(), _Turn()
        codes = np.full(len(opened), Status.FORGED, dtype=object)
        owners = np.full(len(opened), "", dtype=object)
        good = opened.seal == Seal.GOOD.value
        codes[opened.seal == Seal.KEY_GONE.value] = Status.EXPIRED
        codes[good] = Status.UNKNOWN_BUNDLE
        old = good & (opened.seconds < now - HORIZON)
        codes[old] = Status.EXPIRED
        try:
            for (prefix,), rows in _groups(good & ~old, opened.bundle):
                target = self._target(f"{prefix:016x}")
                if target is not None:
                    owners[rows] = target.bundle
                    codes[rows] = self._of_bundle(target, opened.part(rows), [labels[row] for row in rows], turn, now)
            statuses = Counter((owner, code.value) for owner, code in zip(owners, codes, strict=True))
            with self._database.transaction():
                self._write(turn, statuses)
        except BaseException:
            self._ledger.discard()
            self._adaptive.discard()
            raise
        self._ledger.settle()
        self._adaptive.settle()
        return list(codes)

    def alpha(self, target: Target) -> float:
        """The miss rate in force for a bundle."""
        return self._adaptive.alpha(target)

    def tend(
        self,
        targets: Sequence[Target],
        predicted: Mapping[tuple[str, str], int],
        sliced: Mapping[tuple[str, str], Mapping[int, int]] | None = None,
    ) -> list[Target]:
        """What is due with time: miss rates step, old cohorts fold, what is past the horizon is forgotten.

        Args:
            targets: of the bundles that answer.
            predicted: rows predicted since the last call, by bundle and arm.
            sliced: the same by number of the slice, where it can be told.

        Returns:
            Those whose miss rate moved.

        Raises:
            OutcomesError: it cannot be written; nothing changed.
        """
        now = self._clock()
        known = {target.bundle: target for target in targets}

        def cohort(bundle: str) -> int:
            wide = cohorts.width(known[bundle].maturity)
            return int(now) // wide * wide

        rows = {
            (bundle, arm, cohort(bundle)): count
            for (bundle, arm), count in predicted.items()
            if bundle in known and count
        }
        by_slice = {
            SliceKey(bundle, arm, cohort(bundle), number): count
            for (bundle, arm), counts in (sliced or {}).items()
            if bundle in known
            for number, count in counts.items()
            if count
        }
        moved = [target for target in targets if self._adaptive.step(target, now)]
        try:
            with self._database.transaction():
                self._adaptive.write()
                self._database.add_predicted(rows)
                self._database.slices.add_predicted(by_slice)
                self._database.forget_before(int(now) - HORIZON)
                for target in targets:
                    closed = _closed(self._database.cohorts(target.bundle), target, now)
                    self._database.fold(target.bundle, closed[: max(0, len(closed) - cohorts.KEPT)])
                    tables = self._database.slices
                    tables.fold(target.bundle, _closed(tables.cohorts(target.bundle), target, now))
        except BaseException:
            self._adaptive.discard()
            raise
        self._adaptive.settle()
        self._adaptive.forget_before(int(now) - HORIZON)
        return moved

    def _write(self, turn: _Turn, statuses: Mapping[tuple[str, str], int]) -> None:
        self._ledger.write()
        self._adaptive.write()
        for key, counts in turn.cells.items():
            self._database.add_cell(key, counts)
        self._database.slices.add(turn.slices)
        self._database.add_units(turn.units)
        self._database.add_statuses(statuses)

    def _of_bundle(
        self, target: Target, opened: Opened, labels: Sequence[Label], turn: _Turn, now: float
    ) -> NDArray[np.object_]:
        """Statuses of labels of one bundle."""
        codes = np.full(len(opened), Status.INVALID, dtype=object)
        kind = Kind.VALUE if target.values else Kind.CLASS
        truth = numbers(labels) if target.values else truths(labels, target.classes)
        known = np.isfinite(truth) & np.isfinite(opened.value) if target.values else truth >= 0
        rows = np.flatnonzero(known & (opened.kind == kind.value) & (opened.arm < len(self._arms)))
        new = self._new(opened.part(rows))
        codes[rows[~new]] = Status.DUPLICATE
        rows = rows[new]
        late = opened.seconds[rows] + target.maturity < now
        codes[rows[late]], codes[rows[~late]] = Status.LATE, Status.ACCEPTED
        held = self._count(target, opened.part(rows), truth[rows], late, turn)
        self._adaptive.saw(target, int((held[~late] == 0).sum()), int((held[~late] >= 0).sum()), now)
        return codes

    def _new(self, opened: Opened) -> NDArray[np.bool_]:
        """Which predictions had no label before; they have one now."""
        new = np.zeros(len(opened), np.bool_)
        every = np.ones(len(opened), np.bool_)
        for (boot, shard, block), rows in _groups(every, opened.boot, opened.shard, opened.sequence >> 16):
            low = (opened.sequence[rows] & 0xFFFF).astype(np.uint16)
            new[rows] = self._ledger.add(label_key(boot, shard, block), low, int(opened.seconds[rows].max()))
        return new

    def _count(
        self, target: Target, opened: Opened, truth: NDArray[Any], late: NDArray[np.bool_], turn: _Turn
    ) -> NDArray[np.int64]:
        """Add up new labels by arm, epoch, cohort and whether they came late. Returns which sets and intervals held."""
        thresholds = self._adaptive.thresholds(target, opened.seconds)
        if target.values:
            held = held_values(truth, opened.value, opened.lower, opened.upper, thresholds)
        else:
            held = held_classes(truth, opened.label, opened.steps, opened.count, thresholds)
        began = cohorts.start(opened.seconds, target.maturity)
        # Only of predictions whose id holds every class's probability can the losses be told.
        whole = opened.count == len(target.classes)
        every = np.ones(len(opened), np.bool_)
        for group, rows in _groups(every, opened.arm, opened.epoch, began, late, whole):
            arm, epoch, cohort, is_late, is_whole = group
            where = (target.bundle, self._arms[arm], epoch, cohort)
            part = opened.part(rows)
            turn.add(
                CellKey(*where, bool(is_late)), _tally(target, part, truth[rows], held[rows], whole=bool(is_whole))
            )
            split = self._splits.of(target.bundle).get(epoch)
            if split is not None and not is_late and not target.values:
                labels = units.Labelled(part.seconds, part.key_bits, truth[rows] != part.label)
                found = units.count(self._ledger, split, labels)
                turn.units[where] = turn.units.get(where, Units()) + found
        for column in target.slices.numbers(opened.slice).T:
            for group, rows in _groups(~late & (column >= 0), opened.arm, began, column, whole):
                arm, cohort, number, is_whole = group
                sums = _tally(target, opened.part(rows), truth[rows], held[rows], whole=bool(is_whole))
                key = SliceKey(target.bundle, self._arms[arm], cohort, number)
                turn.slices[key] = turn.slices[key] + sums if key in turn.slices else sums
        return held


def _closed(began: Sequence[int], target: Target, now: float) -> list[int]:
    return [start for start in began if cohorts.closed(start, target.maturity, now)]


def _tally(target: Target, opened: Opened, truth: NDArray[Any], held: NDArray[np.int64], *, whole: bool) -> Counts:
    """Counts of some labels; `whole`: their ids hold the probability of every class."""
    if target.values:
        return tally.of_values(truth, opened.value, target.unit, held)
    return tally.of_classes(truth, opened.label, opened.steps[:, : len(target.classes) if whole else 0], held)


def _groups(
    chosen: NDArray[np.bool_], *columns: NDArray[np.generic]
) -> Iterator[tuple[tuple[int, ...], NDArray[np.int64]]]:
    """Rows among the chosen with equal values in every column: those values, and the rows in order."""
    rows = np.flatnonzero(chosen)
    if not len(rows):
        return
    order = np.lexsort(tuple(column[rows] for column in reversed(columns)))
    rows = rows[order]
    changed = np.zeros(len(rows), np.bool_)
    for column in columns:
        changed[1:] |= column[rows][1:] != column[rows][:-1]
    for part in np.split(rows, np.flatnonzero(changed)):
        yield tuple(int(column[part[0]]) for column in columns), part
