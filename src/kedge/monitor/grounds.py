"""What a judgement rests on, taken out of a track whole, so that it can be judged again years later."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kedge.kernel.snapshot import Counts
from kedge.monitor.charts import HOUR
from kedge.monitor.verdict import Span

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from kedge.monitor.rules import Window
    from kedge.monitor.track import Track
    from kedge.monitor.verdict import Judgement


@dataclass(frozen=True, eq=False)
class Counted:
    """A window: when, and everything counted in it."""

    span: Span
    counts: Counts


@dataclass(frozen=True, eq=False)
class Grounds:
    """Counts that a judgement was made of, and what was remembered from before them.

    Attributes:
        windows: that were judged, in order of time; of a chart the hour it took in last, or none since the start.
        memory: of a chart its state before that hour; of latency the run times that were usual; else empty.
        claims: by line of the frame, what pointed at a changed unit or a stuck value at that time.
        looked: where there were claims, the window at which they were renewed last.
        units: where there were claims, what was remembered of units before that window.
        past: of errors and refusals, bad answers and all answers before.
    """

    windows: tuple[Counted, ...]
    memory: bytes = b""
    claims: dict[int, str] = field(default_factory=dict)
    looked: Counted | None = None
    units: bytes = b""
    past: tuple[int, int] = (0, 0)


class Gathering:
    """Takes grounds out of one track. What judgements share is made once: a model has thousands of lines.

    Args:
        track: as it stands.
    """

    def __init__(self, track: Track) -> None:
        self._track = track
        self._made: dict[int, Counted] = {}
        self._units: bytes | None = None

    def of(self, judgement: Judgement) -> Grounds:
        """What a judgement of the track rests on."""
        if judgement.subject == "system":
            return self._system(judgement)
        if judgement.test == "chart":
            return self._chart(judgement)
        track = self._track
        found = {
            window.span: window
            for running in track.running.values()
            for window in (running.before, running.last)
            if window is not None
        }
        windows = tuple(self._window(found[span]) for span in judgement.windows)
        if not track.units.claims or track.looked is None:
            return Grounds(windows)
        if self._units is None:
            self._units = track.units.before()
        return Grounds(windows, claims=dict(track.units.claims), looked=self._window(track.looked), units=self._units)

    def _system(self, judgement: Judgement) -> Grounds:
        system = self._track.system
        windows = tuple(
            self._counted(answers.span, answers.words, answers.bounds)
            for answers in system.judged.get(judgement.name, ())
        )
        usual = system.usual if judgement.name == "latency" else None
        memory = b"" if usual is None else usual.runs.astype("<i8").tobytes()
        return Grounds(windows, memory, past=system.health[judgement.name].past)

    def _chart(self, judgement: Judgement) -> Grounds:
        hour, charts = self._track.charted_hour, self._track.charts
        if hour is None:  # an alarm from before a restart: the state is all there is
            return Grounds((), charts.to_bytes() if charts is not None else b"")
        span = Span(hour.hour * HOUR, judgement.windows[-1].end, int(hour.words[0]))
        return Grounds((self._counted(span, hour.words, hour.bounds),), hour.before)

    def _window(self, window: Window) -> Counted:
        return self._counted(window.span, window.words, window.bounds)

    def _counted(self, span: Span, words: NDArray[np.int64], bounds: NDArray[np.float64] | None) -> Counted:
        """A window's counts as a value that travels; what it did not count has no minimum and no maximum."""
        known = self._made.get(id(words))
        if known is None:
            layout = self._track.frame.layout
            zero = Counts.zero(layout)
            counts = Counts(layout, words, (zero.bounds if bounds is None else bounds).copy()) - zero
            known = self._made[id(words)] = Counted(span, counts)
        return known
