"""Traffic as evidence: every hour, and whenever a verdict changes, the counts are kept and a record names them.

Requests are never recorded. What was counted of them is, so that a verdict can be judged again from the stored counts
by anyone who has the bundle.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import defaultdict
from typing import TYPE_CHECKING, Final, TypeVar

from kedge.audit.record import SYSTEM, Draft, Verdict, decimal
from kedge.errors import KedgeError, SnapshotError
from kedge.monitor.charts import HOUR
from kedge.rollout import traffic
from kedge.rollout.traffic import Change, Claim, Counted, Digest, Kept, Line, Units

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from kedge.audit.counts import CountStore
    from kedge.audit.log import AuditLog
    from kedge.kernel.snapshot import Counts
    from kedge.monitor import grounds
    from kedge.monitor.evaluator import Evaluator
    from kedge.monitor.frame import Frame
    from kedge.monitor.grounds import Grounds
    from kedge.monitor.panes import Key
    from kedge.monitor.verdict import Judgement

LINES_A_RECORD: Final = 32
"""A record has a limit in bytes; a model whose thousand features moved at once takes several."""
COUNTED_A_RECORD: Final = 64
LEAST_SECONDS: Final = 10.0
"""Between two records about one arm: a verdict that flutters is recorded as it stands by then."""
RETRY_SECONDS: Final = 60.0
"""After the log or the disk refused: counts go on growing meanwhile, and each try would keep them again."""

log = logging.getLogger(__name__)
_T = TypeVar("_T")


class Digests:
    """Keeps counts and records them. Thread-safe; `look` follows each look of the evaluator.

    Args:
        audit: the log.
        store: where counts are kept.
        evaluator: that judges them.
        frame: the frame of a bundle id.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        audit: AuditLog,
        store: CountStore,
        evaluator: Evaluator,
        frame: Callable[[str], Frame],
        clock: Callable[[], float],
    ) -> None:
        self._audit = audit
        self._store = store
        self._evaluator = evaluator
        self._frame = frame
        self._clock = clock
        self._start = clock()
        self._base: dict[Key, Counts] = {}
        self._standing: dict[tuple[str, str], dict[tuple[str, str], str]] = defaultdict(dict)
        self._recorded: dict[tuple[str, str], float] = {}
        self._failed = -math.inf
        self._lock = threading.Lock()

    def look(self) -> None:
        """Record what changed since the last look, and the hour if one is over. What cannot be written is tried later.

        Raises nothing: evidence that is late must not end evaluation, and the log says what could not be written.
        """
        now = self._clock()
        with self._lock:
            # abs, here and below: a wall clock that was set back must not keep evidence waiting until it has caught up
            if abs(now - self._failed) < RETRY_SECONDS:
                return
            totals = self._evaluator.totals()
            self._base = {key: counts for key, counts in self._base.items() if key in totals}
            try:
                self._verdicts(now)
                if now // HOUR > self._start // HOUR:
                    self._digest(now)
            except KedgeError as error:
                self._failed = now
                log.error(  # noqa: TRY400 - the reason says it all
                    "evidence is late and will be written again", extra={"data": {"reason": str(error)}}
                )

    def forget(self, bundle: str) -> None:
        """Record what a bundle has counted before the evaluator forgets it."""
        with self._lock:
            if any(key.bundle == bundle and self._since(key, total).words.any() for key, total in self._totals()):
                self._try_digest()
            for arm in [arm for arm in self._standing if arm[0] == bundle]:
                del self._standing[arm]
                self._recorded.pop(arm, None)

    def close(self, evaluate: Callable[[], object] = lambda: None) -> None:
        """Record what was counted since the last full hour; at the end of the server.

        Args:
            evaluate: has the evaluator look once more.
        """
        try:
            evaluate()
        except KedgeError as error:
            log.warning("the last second was not looked at", extra={"data": {"reason": str(error)}})
        with self._lock:
            self._try_digest()

    def _try_digest(self) -> None:
        try:
            self._digest(self._clock())
        except KedgeError as error:
            log.error("the last counts are not recorded", extra={"data": {"reason": str(error)}})  # noqa: TRY400

    def _totals(self) -> list[tuple[Key, Counts]]:
        return sorted(self._evaluator.totals().items())

    def _since(self, key: Key, total: Counts) -> Counts:
        """What was counted since the last digest; of a bundle that was deleted and came again, all of it."""
        base = self._base.get(key)
        try:
            return total if base is None else total - base
        except SnapshotError:
            return total

    def _digest(self, now: float) -> None:
        totals = self._totals()
        dropped = self._store.prune()
        counted = []
        for key, total in totals:
            counts = self._since(key, total)
            if not counts.words.any():
                continue
            bundle = self._frame(key.bundle).bundle
            counted.append(
                Counted(
                    model=bundle.name,
                    version=bundle.version,
                    bundle=key.bundle,
                    arm=key.arm,
                    rows=counts.rows,
                    answers=int(counts.status.sum()),
                    counts=self._store.put(counts.to_bytes()),
                )
            )
        parts = _parts(counted, COUNTED_A_RECORD) or [()]
        with self._audit.transaction() as work:
            for number, part in enumerate(parts, 1):
                said = Digest(
                    start=decimal(self._start),
                    end=decimal(now),
                    counted=part,
                    part=number,
                    parts=len(parts),
                    dropped=dropped,
                )
                work.append(Draft(action=traffic.DIGEST, actor=SYSTEM, details=traffic.details(said)))
        self._base, self._start = dict(totals), now

    def _verdicts(self, now: float) -> None:
        standing: dict[tuple[str, str], dict[tuple[str, str], str]] = defaultdict(dict)
        for item in self._evaluator.problems():
            standing[item.bundle, item.arm][item.subject, item.name] = item.verdict.value
        for arm in sorted(standing.keys() | self._standing.keys()):
            known, found = self._standing[arm], standing[arm]
            changed = {what for what in known.keys() | found.keys() if known.get(what) != found.get(what)}
            if changed and abs(now - self._recorded.get(arm, -math.inf)) >= LEAST_SECONDS:
                self._change(arm, changed)
                self._standing[arm], self._recorded[arm] = found, now

    def _change(self, arm: tuple[str, str], changed: set[tuple[str, str]]) -> None:
        pairs = self._evaluator.grounds(*arm, changed)
        if not pairs:  # nothing counts for the bundle any more
            return
        frame = self._frame(arm[0])
        known = self._standing[arm]
        drafts = [self._draft(frame, arm, part, known) for part in _parts(pairs, LINES_A_RECORD)]
        with self._audit.transaction() as work:
            for draft in drafts:
                work.append(draft)

    def _draft(
        self,
        frame: Frame,
        arm: tuple[str, str],
        pairs: Iterable[tuple[Judgement, Grounds]],
        known: dict[tuple[str, str], str],
    ) -> Draft:
        kept = _Windows(self._store)
        lines, units = [], None
        worst: Judgement | None = None
        for item, rests_on in pairs:
            lines.append(self._line(item, rests_on, known, kept))
            if worst is None or item.verdict.rank > worst.verdict.rank:
                worst = item
            if rests_on.looked is not None and units is None:
                claims = tuple(
                    Claim(subject=frame.sides[line].subject, name=frame.sides[line].name, text=text)
                    for line, text in sorted(rests_on.claims.items())
                )
                units = Units(claims=claims, window=kept.add(rests_on.looked), memory=self._store.put(rests_on.units))
        assert worst is not None  # noqa: S101 - there is at least one pair
        change = Change(arm=arm[1], windows=tuple(kept.found), lines=tuple(lines), units=units)
        decisive = next(line for line in lines if (line.subject, line.name) == (worst.subject, worst.name))
        bundle = frame.bundle
        return Draft(
            action=traffic.VERDICT,
            actor=SYSTEM,
            model=bundle.name,
            bundle=bundle.id,
            snapshots=tuple(sorted({one.sha256 for one in bundle.snapshots.snapshots if one.role == "reference"})),
            verdict=Verdict(test=worst.test or "none", decision=worst.verdict.value, n=worst.rows),
            previous_state=decisive.before,
            next_state=decisive.after,
            rationale=f"{worst.subject} {worst.name}: {'; '.join(worst.reasons) or 'back in its usual place'}"[:4096],
            details=traffic.details(change),
        )

    def _line(self, item: Judgement, rests_on: Grounds, known: dict[tuple[str, str], str], kept: _Windows) -> Line:
        return Line(
            subject=item.subject,
            name=item.name,
            before=known.get((item.subject, item.name), traffic.QUIET),
            after=item.verdict.value if item.verdict.problem else traffic.QUIET,
            verdict=item.verdict.value,
            cause=item.cause.value,
            test=item.test,
            effect=decimal(item.effect),
            line=decimal(item.line),
            statistic=None if math.isnan(item.statistic) else decimal(item.statistic),
            p_value=None if math.isnan(item.p_value) else decimal(item.p_value),
            rows=item.rows,
            windows=tuple(kept.add(window) for window in rests_on.windows),
            memory=self._store.put(rests_on.memory) if rests_on.memory else None,
            past=rests_on.past if item.test in ("errors", "refusals") else None,
        )


def _parts(items: Sequence[_T], size: int) -> list[tuple[_T, ...]]:
    return [tuple(items[i : i + size]) for i in range(0, len(items), size)]


class _Windows:
    """The windows of one record, each once."""

    def __init__(self, store: CountStore) -> None:
        self._store = store
        self.found: list[Kept] = []
        self._places: dict[int, tuple[grounds.Counted, int]] = {}

    def add(self, window: grounds.Counted) -> int:
        """Keep a window's counts; its index."""
        if id(window) not in self._places:
            self._places[id(window)] = (window, self._put(window))
        return self._places[id(window)][1]

    def _put(self, window: grounds.Counted) -> int:
        span = window.span
        kept = Kept(
            start=decimal(span.start),
            end=decimal(span.end),
            rows=span.rows,
            counts=self._store.put(window.counts.to_bytes()),
        )
        if kept not in self.found:
            self.found.append(kept)
        return self.found.index(kept)
