"""A bundle's reference as matrices, so that a thousand distributions are measured by a few calls.

The kernel's counts are one vector of words; every watched distribution is a row of indices into it. Rows of equal width
are measured together.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from kedge.kernel.contract import OVERFLOW
from kedge.monitor.histograms import sides
from kedge.stats import (
    clopper_pearson_upper,
    minimum_window,
    smallest_psi,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kedge.bundle.contents import Bundle
    from kedge.kernel.contract import Layout
    from kedge.monitor.histograms import Side

NATURAL_MARGIN: Final = 1.25
"""On what the reference shows of itself. The 99 % quantile over a few dozen blocks is about the greatest of them, and
the next block is greater than the greatest of n once in n + 1."""
HALVINGS: Final = 40
"""Of the search for `natural_share`: it ends within 1e-12."""


@dataclass(frozen=True, eq=False)
class Group:
    """Distributions of one width.

    Attributes:
        lines: [K] their places among the frame's lines.
        cells: [K, W] indices into the words.
        reference: [K, W] float64.
        usable: [K, W] 1.0 for cells of usable values, else 0.0.
    """

    lines: NDArray[np.int64]
    cells: NDArray[np.int64]
    reference: NDArray[np.float64]
    usable: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ordered:
    """Numeric distributions whose cells have positions, in order of value, for the Wasserstein distance.

    Attributes:
        lines: [K] places among the frame's lines.
        cells: [K, P] indices into the words (unused ones point at a zero behind them).
        reference: [K, P] float64.
        positions: [K, P] in reference standard deviations, not decreasing.
    """

    lines: NDArray[np.int64]
    cells: NDArray[np.int64]
    reference: NDArray[np.float64]
    positions: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FaultTests:
    """One test a distribution and kind of unusable value.

    Attributes:
        lines: [F] places among the frame's lines.
        kinds: [F] ``missing``, ``invalid``, ``unseen``, ``out of range``.
        of_line: [lines] the tests of each line.
        cells: [F, 3] indices into the words, padded like `Ordered`.
        reference: [F] share in the reference.
        upper: [F] the null rate: upper 99.95 % Clopper-Pearson bound of the reference's share, or the largest share
            that its natural variation allows, whichever is more.
    """

    lines: NDArray[np.int64]
    kinds: tuple[str, ...]
    of_line: tuple[tuple[int, ...], ...]
    cells: NDArray[np.int64]
    reference: NDArray[np.float64]
    upper: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Frame:
    """Everything about a bundle that judging a window needs.

    Attributes:
        bundle, layout: whose.
        sides: the lines, as values with names.
        groups, ordered, faults: what is measured.
        needed: [lines] rows below which a line is not judged.
        occupied: [lines] cells that the reference fills, at least 2.
        natural: [lines] PSI* of natural variation with its margin, 0 where unknown.
        features: [lines] which are features.
        warn, critical: [lines] lines PSI* is held against; never below natural variation.
    """

    bundle: Bundle
    layout: Layout
    sides: tuple[Side, ...]
    groups: tuple[Group, ...]
    ordered: Ordered | None
    faults: FaultTests
    needed: NDArray[np.int64]
    occupied: NDArray[np.int64]
    natural: NDArray[np.float64]
    features: NDArray[np.bool_]
    warn: NDArray[np.float64]
    critical: NDArray[np.float64]

    @classmethod
    def of(cls, bundle: Bundle) -> Frame:
        """Prepare a bundle. One without a reference has no lines.

        Raises:
            BundleError: its reference is of another shape than its layout.
        """
        lines = sides(bundle)
        natural = NATURAL_MARGIN * np.array([side.natural_variation for side in lines])
        occupied = np.array([max(2, int(np.count_nonzero(side.reference))) for side in lines], dtype=np.int64)
        config = bundle.serving.monitor
        return cls(
            bundle=bundle,
            layout=bundle.layout(),
            sides=lines,
            groups=tuple(_groups(lines)),
            ordered=_ordered(lines),
            faults=_faults(lines),
            needed=np.array([_minimum(int(cells), len(lines)) for cells in occupied], dtype=np.int64),
            occupied=occupied,
            natural=natural,
            features=np.array([side.subject == "feature" for side in lines], dtype=np.bool_),
            warn=np.maximum(config.psi_warn, natural),
            critical=np.maximum(config.psi_critical, natural),
        )

    @property
    def reference_rows(self) -> int:
        """Rows of the reference."""
        return self.bundle.distributions.rows if self.bundle.distributions else 0

    def smallest(self, line: int, rows: int) -> float:
        """PSI* that a window of `rows` shows of a line with 90 % power; 0 for no rows."""
        return _noncentrality(int(self.occupied[line]), len(self.sides)) / rows if rows else 0.0


def _groups(lines: tuple[Side, ...]) -> list[Group]:
    groups = []
    for width in sorted({len(side.reference) for side in lines}):
        chosen = [i for i, side in enumerate(lines) if len(side.reference) == width]
        starts = np.array([lines[i].place.start for i in chosen], dtype=np.int64)
        groups.append(
            Group(
                np.array(chosen, dtype=np.int64),
                starts[:, None] + np.arange(width),
                np.stack([lines[i].reference for i in chosen]).astype(np.float64),
                np.stack([_usable(lines[i], width) for i in chosen]),
            )
        )
    return groups


def _usable(side: Side, width: int) -> NDArray[np.float64]:
    usable = np.ones(width)
    usable[[cell for _, cells in side.faults for cell in cells]] = 0.0
    return usable


def _ordered(lines: tuple[Side, ...]) -> Ordered | None:
    chosen = [i for i, side in enumerate(lines) if side.moments is not None and 0 < side.moments.std < np.inf]
    if not chosen:
        return None
    width = OVERFLOW + 1
    cells = np.full((len(chosen), width), -1, dtype=np.int64)
    reference, positions = np.zeros((len(chosen), width)), np.zeros((len(chosen), width))
    for row, i in enumerate(chosen):
        side = lines[i]
        assert side.moments is not None  # noqa: S101 - chosen by it
        slots = np.array([slot for slot, _ in side.positions], dtype=np.int64)
        values = np.array([value for _, value in side.positions])
        cells[row, : len(slots)] = side.place.start + slots
        reference[row, : len(slots)] = side.reference[slots]
        # Divided first: near the ends of float64 a difference would overflow.
        positions[row, : len(slots)] = values / side.moments.std - side.moments.mean / side.moments.std
        positions[row, len(slots) :] = positions[row, len(slots) - 1]
    return Ordered(np.array(chosen, dtype=np.int64), cells, reference, positions)


def _faults(lines: tuple[Side, ...]) -> FaultTests:
    tests = [(i, kind, cells) for i, side in enumerate(lines) for kind, cells in side.faults]
    of_line: list[list[int]] = [[] for _ in lines]
    for test, (i, _, _) in enumerate(tests):
        of_line[i].append(test)
    width = max((len(cells) for _, _, cells in tests), default=1)
    places = np.full((len(tests), width), -1, dtype=np.int64)
    for row, (i, _, cells) in enumerate(tests):
        places[row, : len(cells)] = lines[i].place.start + np.array(cells)
    events = np.array([lines[i].reference[list(cells)].sum() for i, _, cells in tests], dtype=np.float64)
    trials = np.array([lines[i].reference.sum() for i, _, _ in tests], dtype=np.float64)
    natural = NATURAL_MARGIN * np.array([lines[i].natural_variation for i, _, _ in tests])
    bound = np.asarray(clopper_pearson_upper(events, trials))
    return FaultTests(
        np.array([i for i, _, _ in tests], dtype=np.int64),
        tuple(kind for _, kind, _ in tests),
        tuple(map(tuple, of_line)),
        places,
        events / np.maximum(trials, 1),
        np.maximum(bound, natural_share((events + 0.5) / (trials + 1), natural)),
    )


def natural_share(share: NDArray[np.float64], natural: NDArray[np.float64]) -> NDArray[np.float64]:
    """The largest share of a cell that a distribution may show while its PSI stays within `natural`.

    Joining all other cells into one never increases PSI (it is a sum of two Kullback-Leibler divergences), so the
    two-cell PSI, (q - p) (logit q - logit p), of what is natural is at most `natural`. It grows with q above p.

    Args:
        share: p, strictly between 0 and 1.
        natural: PSI, at least 0.

    Returns:
        q in [p, 1), of the same shape.

    Source: Csiszar 1967 (data processing inequality of f-divergences).
    """
    low, high = share.copy(), np.full_like(share, 1 - 1e-12)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        inside = (middle - share) * (_logit(middle) - _logit(share)) <= natural
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return low


def _logit(p: NDArray[np.float64]) -> NDArray[np.float64]:
    odds: NDArray[np.float64] = np.log(p) - np.log1p(-p)
    return odds


@functools.lru_cache(maxsize=4096)
def _minimum(cells: int, lines: int) -> int:
    return minimum_window(cells, lines)


@functools.lru_cache(maxsize=4096)
def _noncentrality(cells: int, lines: int) -> float:
    return smallest_psi(1, cells, lines)
