"""Judging a record again from the counts that were kept and the bundle that answered, and comparing what comes out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kedge.audit.counts import CountsGoneError
from kedge.audit.errors import AuditError
from kedge.errors import BundleError, Code, KedgeError, SnapshotError
from kedge.kernel.snapshot import Counts
from kedge.monitor.grounds import Counted, Grounds
from kedge.monitor.rejudge import claims, rejudge
from kedge.monitor.verdict import Span
from kedge.rollout import traffic
from kedge.rollout.record_readings import read_again, readings_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kedge.audit.counts import CountStore
    from kedge.audit.record import Record
    from kedge.monitor.frame import Frame
    from kedge.monitor.verdict import Judgement
    from kedge.rollout.traffic import Change, Line

SAME: Final = 1e-9
"""Relative difference of two numbers that counts as none: libraries of different builds round differently."""


class NothingToReplayError(AuditError):
    """A record that says nothing which could be computed again."""

    code = Code.INVALID_ARGUMENT


@dataclass(frozen=True)
class Difference:
    """Where the record and what was computed again part: of which thing, in which field; both as text."""

    what: str
    field: str
    recorded: str
    recomputed: str


@dataclass(frozen=True)
class Replay:
    """What judging again came to.

    Attributes:
        sequence: of the record.
        action: of the record.
        checked: things that were computed again, such as ``live feature temp``.
        differences: between record and recomputation.
        gone: what could not be computed again, and why.
    """

    sequence: int
    action: str
    checked: tuple[str, ...]
    differences: tuple[Difference, ...]
    gone: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Everything was computed again and nothing differs."""
        return not self.differences and not self.gone


def replay(record: Record, counts: CountStore, frame: Callable[[str], Frame]) -> Replay:
    """Compute a record's verdicts again.

    Args:
        record: ``verdict.changed``, ``traffic.digest``, or a decision that guards took, whose numbers it holds.
        counts: where snapshots were kept.
        frame: the frame of a bundle id.

    Raises:
        NothingToReplayError: the record rests on no counts.
        RecordError: its details are not those of its action.
    """
    again = _Again(record, counts, frame)
    if record.action == traffic.VERDICT:
        again.verdicts(traffic.change_of(record))
    elif record.action == traffic.DIGEST:
        again.digest(traffic.digest_of(record))
    elif readings_of(record):
        again.readings()
    else:
        raise NothingToReplayError(
            f"record {record.sequence} ({record.action}) rests on no stored counts; {traffic.VERDICT}, "
            f"{traffic.DIGEST} and decisions of guards do"
        )
    return Replay(record.sequence, record.action, tuple(again.checked), tuple(again.differences), tuple(again.gone))


class _Again:
    def __init__(self, record: Record, counts: CountStore, frame: Callable[[str], Frame]) -> None:
        self._record = record
        self._counts = counts
        self._frame = frame
        self.checked: list[str] = []
        self.differences: list[Difference] = []
        self.gone: list[str] = []

    def verdicts(self, change: Change) -> None:
        """Judge every line of a change again."""
        try:
            frame = self._frame(self._record.bundle or "")
        except BundleError as error:
            self.gone.append(f"its bundle: {error}")
            return
        self._claims(frame, change)
        for line in change.lines:
            what = f"{change.arm} {line.subject} {line.name}"
            try:
                rests_on = self._grounds(frame, change, line)
                found = rejudge(frame, rests_on, arm=change.arm, subject=line.subject, name=line.name, test=line.test)
            except (CountsGoneError, SnapshotError) as error:
                self.gone.append(f"{what}: {error}")
                continue
            except KedgeError as error:
                self.differences.append(Difference(what, "verdict", line.verdict, str(error)))
                continue
            self.checked.append(what)
            self.differences += _compare(what, line, found)

    def readings(self) -> None:
        """Read every guard again from the numbers in the record itself."""
        for guard, differences in read_again(self._record):
            what = f"guard {guard}"
            self.checked.append(what)
            self.differences += [Difference(what, *one) for one in differences]

    def digest(self, digest: traffic.Digest) -> None:
        """Read every snapshot of an hour again and compare what it counted."""
        for one in digest.counted:
            what = f"{one.model} {one.version} {one.arm}"
            try:
                found = Counts.parse(self._counts.get(one.counts), self._frame(one.bundle).layout)
            except (CountsGoneError, SnapshotError, BundleError) as error:
                self.gone.append(f"{what}: {error}")
                continue
            self.checked.append(what)
            for name, said, is_now in (("rows", one.rows, found.rows), ("answers", one.answers, found.status.sum())):
                if said != is_now:
                    self.differences.append(Difference(what, name, str(said), str(is_now)))

    def _claims(self, frame: Frame, change: Change) -> None:
        """Look at units again, from what was remembered before the last look."""
        if change.units is None:
            return
        what = f"{change.arm} units"
        try:
            looked = self._window(frame, change, change.units.window)
            found = claims(frame, looked, self._counts.get(change.units.memory))
        except (CountsGoneError, SnapshotError) as error:
            self.gone.append(f"{what}: {error}")
            return
        self.checked.append(what)
        again = sorted(f"{frame.sides[line].subject} {frame.sides[line].name} {text}" for line, text in found.items())
        said = sorted(f"{claim.subject} {claim.name} {claim.text}" for claim in change.units.claims)
        if said != again:
            self.differences.append(Difference(what, "claims", "; ".join(said), "; ".join(again)))

    def _grounds(self, frame: Frame, change: Change, line: Line) -> Grounds:
        windows = tuple(self._window(frame, change, index) for index in line.windows)
        memory = b"" if line.memory is None else self._counts.get(line.memory)
        past = line.past or (0, 0)
        units = change.units
        if units is None or line.subject == "system" or line.test == "chart":
            return Grounds(windows, memory, past=past)
        places: dict[tuple[str, str], int] = {(side.subject, side.name): i for i, side in enumerate(frame.sides)}
        told = {places.get((claim.subject, claim.name), -1): claim.text for claim in units.claims}
        looked = self._window(frame, change, units.window)
        return Grounds(windows, memory, told, looked, self._counts.get(units.memory), past)

    def _window(self, frame: Frame, change: Change, index: int) -> Counted:
        if index >= len(change.windows):
            raise CountsGoneError(f"the record names window {index} and lists {len(change.windows)}")
        kept = change.windows[index]
        counts = Counts.parse(self._counts.get(kept.counts), frame.layout)
        return Counted(Span(float(kept.start), float(kept.end), kept.rows), counts)


def _compare(what: str, line: Line, found: Judgement) -> Iterator[Difference]:
    after = found.verdict.value if found.verdict.problem else traffic.QUIET
    texts = (
        ("verdict", line.verdict, found.verdict.value),
        ("after", line.after, after),
        ("cause", line.cause, found.cause.value),
        ("test", line.test, found.test),
        ("rows", str(line.rows), str(found.rows)),
    )
    for name, said, is_now in texts:
        if said != is_now:
            yield Difference(what, name, said, is_now)
    numbers = (
        ("effect", line.effect, found.effect),
        ("line", line.line, found.line),
        ("statistic", line.statistic, found.statistic),
        ("p_value", line.p_value, found.p_value),
    )
    for name, text, number in numbers:
        if text is None:
            if not math.isnan(number):
                yield Difference(what, name, "none", repr(number))
        elif not math.isclose(float(text), number, rel_tol=SAME, abs_tol=0.0):
            yield Difference(what, name, text, repr(number))
