"""Abrupt changes of a feature that point at the pipeline rather than at the world: another unit, or a stuck value.

Weather turns by degrees; a feature whose values are suddenly what they were *after a known conversion* was sent in
another unit. "What they were" is learnt from recent windows that made no such claim.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from kedge.errors import SnapshotError
from kedge.kernel.contract import OVERFLOW

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kedge.monitor.frame import Frame

REMEMBERED: Final = 10
"""Recent windows that say what a feature usually is."""
LEAST: Final = 3
"""Windows needed before anything is claimed."""
JUMP: Final = 4.0
"""Deviations (of recent values, between and within windows) from which a mean has jumped."""
SMALL_JUMP: Final = 1.5
"""The same for conversions with a shift, of which few stand in the table, where the window is moved from the reference
as well: beyond 99 % of what the reference itself shows."""
CONCENTRATED: Final = 2.0
"""A factor can be told only of a feature whose mean lies this many deviations from zero."""
LANDING: Final = 2.0
"""Deviations within which the converted mean must lie of the recent one..."""
EXPLAINED: Final = 0.5
"""...and share of the jump that the conversion may leave unexplained."""
SPREAD: Final = 3.0
"""Factor within which the converted deviation must lie of the recent ones."""


class Conversion(NamedTuple):
    """new = old * factor + shift."""

    text: str
    factor: float
    shift: float


def _both_ways(name: str, other: str, factor: float, shift: float = 0.0) -> tuple[Conversion, Conversion]:
    return (
        Conversion(f"{name} sent as {other}", factor, shift),
        Conversion(f"{other} sent as {name}", 1 / factor, -shift / factor),
    )


CONVERSIONS: Final = (
    *_both_ways("degrees Fahrenheit", "degrees Celsius", 1 / 1.8, -32 / 1.8),
    *_both_ways("degrees Celsius", "kelvin", 1.0, 273.15),
    *_both_ways("degrees Fahrenheit", "kelvin", 1 / 1.8, 273.15 - 32 / 1.8),
    *_both_ways("miles", "kilometres", 1.609344),
    *_both_ways("miles an hour", "metres a second", 0.44704),
    *_both_ways("kilometres an hour", "metres a second", 1 / 3.6),
    *_both_ways("inches", "centimetres", 2.54),
    *_both_ways("inches", "millimetres", 25.4),
    *_both_ways("feet", "metres", 0.3048),
    *_both_ways("pounds", "kilograms", 0.45359237),
    *_both_ways("inches of mercury", "hectopascals", 33.8639),
    *_both_ways("minutes", "seconds", 60.0),
    *_both_ways("hours", "minutes", 60.0),
    *_both_ways("hours", "seconds", 3600.0),
    *_both_ways("percent", "fractions", 0.01),
    *_both_ways("units", "tens", 0.1),
    *_both_ways("units", "thousands", 1e-3),
    *_both_ways("units", "millions", 1e-6),
)
_MEMORY: Final = ("means", "deviations", "suspected", "held")
_FACTOR: Final = np.array([item.factor for item in CONVERSIONS])[:, None]
_SHIFT: Final = np.array([item.shift for item in CONVERSIONS])[:, None]
_JUMP: Final = np.where(_SHIFT == 0, JUMP, SMALL_JUMP)


@dataclass
class Units:
    """Recent means and deviations of a frame's numeric features, and what is claimed of them.

    A claim takes two windows running, as drift does, and holds until the mean is back where it was.

    Attributes:
        frame: whose.
        claims: by line: what seems to have happened, in words.
    """

    frame: Frame
    claims: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        sides = self.frame.sides
        self._lines = np.array(
            [i for i, side in enumerate(sides) if side.subject == "feature" and side.moments is not None], np.int64
        )
        chosen = [sides[i] for i in self._lines]
        self._slots = np.array([side.place.start for side in chosen], np.int64)[:, None] + np.arange(OVERFLOW + 1)
        self._first = np.array([side.place.stop for side in chosen], np.int64)
        self._center = np.array([side.center for side in chosen])
        self._scale = np.array([side.scale for side in chosen])
        self._shares = np.array(
            [side.reference[: OVERFLOW + 1] / max(1, side.reference.sum()) for side in chosen]
        ).reshape(len(chosen), OVERFLOW + 1)
        self._means = np.full((REMEMBERED, len(chosen)), np.nan)
        self._deviations = np.full((REMEMBERED, len(chosen)), np.nan)
        self._suspected = np.zeros(len(chosen), np.bool_)
        self._held = np.zeros(len(chosen), np.bool_)
        self._before = self._state()

    def look(self, words: NDArray[np.int64], moved: NDArray[np.bool_]) -> None:
        """Take in a window and renew the claims.

        Args:
            words: its counts.
            moved: [lines] of the frame that it moved; only those are claimed to be stuck.
        """
        if not len(self._lines):
            return
        self._before = self._state()
        slots = words[self._slots]
        n = slots.sum(axis=1)
        some = np.maximum(n, 1)
        first, second = words[self._first] / some, words[self._first + 1] / some
        deviation = np.sqrt(np.maximum(0.0, second - first**2)) / self._scale
        mean = self._center + first / self._scale
        enough = n >= self.frame.needed[self._lines]
        converted, which, returned = self._converted(mean, deviation, moved[self._lines])
        stuck = (deviation == 0) & moved[self._lines] & (self._shares[np.arange(len(n)), slots.argmax(axis=1)] < 0.3)
        suspected = enough & (converted | stuck)
        self._held &= ~(enough & returned & ~suspected)
        self._held |= suspected & self._suspected
        texts = dict(self.claims)
        for row in np.flatnonzero(suspected):
            change = f"looks like a change of unit: {CONVERSIONS[which[row]].text}"
            texts.setdefault(int(self._lines[row]), change if converted[row] else f"stuck at {mean[row]:.3g}")
        self.claims = {line: texts[line] for line in self._lines[self._held].tolist()}
        self._suspected = np.where(enough, suspected, self._suspected)
        kept = enough & ~suspected & ~self._held
        for memory, value in ((self._means, mean), (self._deviations, deviation)):
            memory[:-1, kept] = memory[1:, kept]
            memory[-1, kept] = value[kept]

    def before(self) -> bytes:
        """What was remembered before the last look, for `restore`."""
        out = io.BytesIO()
        texts = [f"{line} {text}" for line, text in sorted(self._before[-1].items())]
        means, deviations, suspected, held, _ = self._before
        np.savez_compressed(
            out, claims=np.array(texts, np.str_), means=means, deviations=deviations, suspected=suspected, held=held
        )
        return out.getvalue()

    def restore(self, memory: bytes) -> None:
        """Go on from `before`.

        Raises:
            SnapshotError: these bytes are none of it, or of other features.
        """
        try:
            with np.load(io.BytesIO(memory), allow_pickle=False) as arrays:
                found = {name: arrays[name] for name in (*_MEMORY, "claims")}
        except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise SnapshotError("what was remembered of units is damaged") from error
        means, deviations, suspected, held, _ = self._before
        shapes = (means.shape, deviations.shape, suspected.shape, held.shape)
        if tuple(found[name].shape for name in _MEMORY) != shapes:
            raise SnapshotError("what was remembered of units is of other features")
        self._means, self._deviations = found["means"].astype(np.float64), found["deviations"].astype(np.float64)
        self._suspected, self._held = found["suspected"].astype(np.bool_), found["held"].astype(np.bool_)
        pairs = (text.partition(" ") for text in found["claims"].tolist())
        self.claims = {int(line): text for line, _, text in pairs}

    def _state(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any], dict[int, str]]:
        arrays = (self._means, self._deviations, self._suspected, self._held)
        first, second, third, fourth = (array.copy() for array in arrays)
        return first, second, third, fourth, dict(self.claims)

    def _converted(
        self, mean: NDArray[np.float64], deviation: NDArray[np.float64], moved: NDArray[np.bool_]
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.bool_]]:
        """Which features look converted, by which conversion, and which are back at their usual mean."""
        known = (~np.isnan(self._means)).sum(axis=0)
        ready = known >= LEAST
        size = np.maximum(known, 1)
        usual = np.nansum(self._means, axis=0) / size
        within = np.sqrt(np.nansum(self._deviations**2, axis=0) / size)
        between = np.nansum(np.where(np.isnan(self._means), 0.0, self._means - usual) ** 2, axis=0) / size
        spread = np.sqrt(within**2 + between)
        ready &= (spread > 0) & (within > 0) & (deviation > 0)
        spread, within, deviation = (np.where(ready, array, 1.0) for array in (spread, within, deviation))
        jump = np.abs(mean - usual) / spread
        jumped = ready & (jump >= np.where(moved, _JUMP, JUMP))
        plain = (np.abs(usual) >= CONCENTRATED * spread) | (_SHIFT != 0)
        misses = np.abs((mean - _SHIFT) / _FACTOR - usual) / spread
        stretch = np.abs(np.log(deviation / _FACTOR / within))
        fits = jumped & plain & (misses <= np.minimum(LANDING, EXPLAINED * jump)) & (stretch <= np.log(SPREAD))
        score = np.where(fits, misses + stretch + (_SHIFT == 0), np.inf)
        best = score.argmin(axis=0)
        returned = ~ready | (jump <= LANDING)
        return np.isfinite(score.min(axis=0)), best, returned
