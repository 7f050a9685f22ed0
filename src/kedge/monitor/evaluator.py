"""The evaluator: looks at the counts once a second and keeps a judgement on everything that is watched.

Counts become windows (1,000, 10,000 and 100,000 rows, each size one after the other and never overlapping), windows
become judgements by `kedge.monitor.rules`. What changed wakes those who wait.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from kedge.errors import KedgeError
from kedge.monitor.charts import HOUR
from kedge.monitor.grounds import Gathering
from kedge.monitor.judgements import all_judgements, problems
from kedge.monitor.panes import Key
from kedge.monitor.track import Track

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from kedge.kernel.snapshot import Counts
    from kedge.monitor.chart_store import ChartStore
    from kedge.monitor.frame import Frame
    from kedge.monitor.grounds import Grounds
    from kedge.monitor.panes import Panes
    from kedge.monitor.verdict import Judgement

CHARTED_ARM = "live"
"""Charts need a week; no other arm lives that long."""

log = logging.getLogger(__name__)

_Standing = tuple[dict[tuple[str, str, str, str], tuple[str, str, str]], int]


class Evaluator:
    """Judgements on every bundle and arm that counts. Thread-safe.

    Args:
        clock: seconds since 1970.
        panes: where counts are kept for later questions.
        frame: the frame of a bundle id.
        charts: where charts survive a restart; None forgets them.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        panes: Panes,
        frame: Callable[[str], Frame],
        charts: ChartStore | None = None,
    ) -> None:
        self._clock = clock
        self._panes = panes
        self._frame = frame
        self._store = charts
        self._changed = threading.Condition()
        self._tracks: dict[Key, Track] = {}
        self._problems: dict[Key, list[Judgement]] = {}
        self._standing: dict[Key, _Standing] = {}
        self._version = 0
        self._totals: Mapping[Key, Counts] = {}

    def tick(self, read: Callable[[], Mapping[Key, Counts]]) -> tuple[Judgement, ...]:
        """Look once. `read` gives everything counted since the server started.

        Returns:
            Every problem (WARN or CRITICAL) that stands now.
        """
        totals = self._panes.advance(read)
        now = self._clock()
        with self._changed:
            self._totals = totals
            news = False
            for key, counts in totals.items():
                track = self._tracks.get(key)
                if track is None:
                    track = self._tracks[key] = self._begin(key, now)
                turned = track.turn_hour(int(now // HOUR))
                if turned:
                    self._save(key, track)
                if track.advance(counts, now) or turned:
                    news |= self._renew(key, track)
            if news:
                self._version += 1
                self._changed.notify_all()
            return tuple(item for key in self._problems for item in self._problems[key])

    def problems(self) -> tuple[Judgement, ...]:
        """Every WARN or CRITICAL that stands now."""
        with self._changed:
            return tuple(item for found in self._problems.values() for item in found)

    def judgements(self, bundles: Sequence[str] = ()) -> tuple[Judgement, ...]:
        """How everything stands now, of these bundle ids or of all."""
        with self._changed:
            return tuple(
                item
                for key, track in sorted(self._tracks.items())
                if not bundles or key.bundle in bundles
                for item in all_judgements(track)
            )

    def totals(self) -> Mapping[Key, Counts]:
        """Everything counted since the server started, as the last look found it; never shrinks."""
        with self._changed:
            return self._totals

    def grounds(self, bundle: str, arm: str, wanted: Collection[tuple[str, str]]) -> list[tuple[Judgement, Grounds]]:
        """How things stand in an arm of a bundle, and what each of these judgements rests on.

        Args:
            bundle: id.
            arm: such as ``live``.
            wanted: pairs of subject and name.
        """
        with self._changed:
            track = self._tracks.get(Key(bundle, arm))
            if track is None:
                return []
            gathering = Gathering(track)
            found = all_judgements(track)
            return [(item, gathering.of(item)) for item in found if (item.subject, item.name) in wanted]

    def claims(self, bundle: str) -> dict[int, str]:
        """What points at the pipeline, by line of the bundle's frame, in any arm."""
        with self._changed:
            tracks = [track for key, track in self._tracks.items() if key.bundle == bundle]
            return {line: text for track in tracks for line, text in track.units.claims.items()}

    def charts(self) -> dict[tuple[Key, str], tuple[float, float, bool]]:
        """Of every warm chart, by key and name: the larger sum, its limit, and whether it alarms."""
        with self._changed:
            return {
                (key, name): (float(max(charts.up[i], charts.down[i])), charts.limit, bool(charts.alarm[i]))
                for key, track in self._tracks.items()
                if (charts := track.charts) is not None
                for i, name in enumerate(charts.names)
                if charts.ready[i]
            }

    def wait(self, version: int, timeout: float) -> int:
        """Wait until anything changed since `version` (0 at the start), at most `timeout` seconds; the version now."""
        with self._changed:
            self._changed.wait_for(lambda: self._version != version, timeout)
            return self._version

    def forget(self, bundle: str) -> None:
        """Drop what is known of a bundle that does not count any more."""
        with self._changed:
            for key in [key for key in self._tracks if key.bundle == bundle]:
                del self._tracks[key]
                self._problems.pop(key, None)
                self._standing.pop(key, None)
            self._totals = {key: counts for key, counts in self._totals.items() if key.bundle != bundle}
            self._version += 1
            self._changed.notify_all()

    def _begin(self, key: Key, now: float) -> Track:
        track = Track(self._frame(key.bundle), key.arm, now, charted=key.arm == CHARTED_ARM)
        if self._store is not None and track.charts is not None:
            try:
                known = self._store.load(key)
            except KedgeError as error:
                log.warning("control charts begin anew: %s", error)
            else:
                if known is not None and not track.charts.restored(known[1]):
                    log.warning(
                        "control charts of bundle %s begin anew: their state is of other lines", key.bundle[:12]
                    )
        return track

    def _save(self, key: Key, track: Track) -> None:
        if self._store is None or track.charts is None:
            return
        try:
            self._store.save(key, track.hour, track.charts.to_bytes())
        except KedgeError as error:
            log.warning("control charts would not survive a restart: %s", error)

    def _renew(self, key: Key, track: Track) -> bool:
        """Whether anything stands otherwise than before."""
        self._problems[key] = problems(track)
        standing = {item.key: (item.verdict.value, item.cause.value, item.test) for item in self._problems[key]}
        signature = (standing, track.judged_lines())
        known, self._standing[key] = self._standing.get(key), signature
        return known != signature
