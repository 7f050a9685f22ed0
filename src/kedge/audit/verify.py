"""Recompute the whole log from its stored bytes and name what does not fit.

One pass, in memory that grows with the logarithm of the log: every record is parsed, hashed and put into the tree;
every checkpoint is compared with the tree as it was, and its signatures with the keys that were in force.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from kedge.audit import canonical, schema
from kedge.audit.checkpoint import Checkpoint
from kedge.audit.errors import AuditError, RecordError, SignatureError
from kedge.audit.findings import Finding, Kind, Report
from kedge.audit.frontier import Frontier
from kedge.audit.key_history import KeyHistory
from kedge.audit.merkle import leaf_hash
from kedge.audit.note import Note
from kedge.audit.places import Places
from kedge.audit.record import MAX_RECORD_BYTES
from kedge.audit.second import parse_line

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from kedge.audit.note import Verifier
    from kedge.audit.reader import Reader

MAX_FINDINGS: Final = 50
"""A log that is wrong everywhere is not described better by more."""
_STEP: Final = 1000


def verify(
    log: Reader,
    second: Iterable[bytes] | None = None,
    *,
    pinned: Collection[Verifier] = (),
    witnesses: Collection[Verifier] = (),
    advance: Callable[[int], None] | None = None,
) -> Report:
    """Verify a log.

    Args:
        log: the database, opened for reading.
        second: lines of the second file (`SecondFile.lines`), or None if there is none.
        pinned: keys of which one must be the log's; without any the log vouches for its own key.
        witnesses: keys whose cosignature every line of the second file must bear.
        advance: told the records that were read, as they are.
    """
    walk = _Walk(pinned, witnesses)
    lines = None if second is None else _Lines(walk, second)
    try:
        walk.schema(log)
        heads = log.checkpoints()
        head = next(heads, None)
        for seq, data in log.records():
            walk.record(seq, data)
            while head is not None and isinstance(head[1], int) and head[1] <= walk.size:
                walk.checkpoint(head, lines)
                head = next(heads, None)
            if advance is not None and walk.size % _STEP == 0:
                advance(_STEP)
        while head is not None:
            walk.checkpoint(head, lines)
            head = next(heads, None)
    except AuditError as error:
        walk.find(Kind.DATABASE_DAMAGED, str(error))
    return walk.report(lines)


class _Walk:
    def __init__(self, pinned: Collection[Verifier], witnesses: Collection[Verifier]) -> None:
        self.pinned = pinned
        self.witnesses = tuple(witnesses)
        self.findings: list[Finding] = []
        self.remarks: list[str] = []
        self.frontier = Frontier()
        self.keys = KeyHistory()
        self.places = Places()
        self.trusted = 0
        """Records under the newest checkpoint that fitted."""
        self.broken = False
        """The tree is known not to be the one that was signed; roots say nothing any more."""
        self.checkpoints = 0
        self.covered = 0

    @property
    def size(self) -> int:
        return self.frontier.size

    def find(self, kind: Kind, message: str) -> None:
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(Finding(kind, message))

    def schema(self, log: Reader) -> None:
        for fault in log.faults():
            self.find(Kind.DATABASE_DAMAGED, f"SQLite: {fault}")
        for name, sql in schema.STATEMENTS.items():
            if log.schema.get(name) != sql:
                what = "is not as Kedge made it" if name in log.schema else "is missing"
                self.find(Kind.SCHEMA_CHANGED, f"'{name}', which keeps the log append-only, {what}")
        for name in sorted(map(str, log.schema.keys() - schema.STATEMENTS.keys())):
            self.find(Kind.SCHEMA_CHANGED, f"{name!a} was added to the log's tables")

    def record(self, seq: Any, data: Any) -> None:
        position = self.size
        data = data if isinstance(data, bytes) else repr(data).encode()
        inner: int | None = None
        try:
            if len(data) > MAX_RECORD_BYTES:
                raise RecordError(f"record {position}: {len(data)} bytes, limit {MAX_RECORD_BYTES}")
            value = canonical.decode_record(data, f"record {position}")
            inner = value.get("sequence") if isinstance(value.get("sequence"), int) else None
            if inner is None:
                self.find(Kind.RECORD_MALFORMED, f"record {position}: no sequence number")
            self.keys.read(position, value)
        except AuditError as error:
            self.find(Kind.RECORD_MALFORMED, str(error))
        except SignatureError as error:
            self.find(Kind.RECORD_MALFORMED, f"record {position}: {error}")
        if not self.places.add(position, seq, inner):
            self.broken = True
        self.frontier.append(leaf_hash(data))

    def checkpoint(self, row: tuple[Any, Any, Any, Any], lines: _Lines | None) -> None:
        number, size, stored, frontier = row
        what = f"checkpoint {self.checkpoints} (of {size} records)"
        if number != self.checkpoints:
            self.find(Kind.CHECKPOINT_MISSING, f"checkpoint {self.checkpoints} is missing; next is {number!r}")
            self.checkpoints = number if isinstance(number, int) else self.checkpoints
        self.checkpoints += 1
        head = self.signed(what, size, stored)
        if not isinstance(size, int):
            return
        if size > self.size:
            self.covered = max(self.covered, size)
            return
        if size != self.size or size < self.covered:
            self.find(Kind.CHECKPOINT_MALFORMED, f"{what} is out of order")
            return
        self.covered = size
        if self.broken or head is None:
            return
        if head.root != self.frontier.root():
            self.broken = True
            self.find(Kind.RECORD_CHANGED, f"{_records(self.trusted, size)} not what {what} signed")
            return
        self.trusted = size
        if frontier != self.frontier.hashes:
            self.find(Kind.CHECKPOINT_MALFORMED, f"{what}: its stored subtree roots are not the tree's")
        if lines is not None:
            lines.compare(head)

    def signed(self, what: str, size: Any, stored: Any) -> Checkpoint | None:
        """The head that a stored note states, if it is one and bears exactly the signatures that are due."""
        try:
            note = Note.parse(stored if isinstance(stored, bytes) else b"")
            head = Checkpoint.parse(note.text)
            if head.size != size:
                raise SignatureError(f"its note says {head.size} records")
            if note.to_bytes() != stored:
                raise SignatureError("its note is not in its one spelling")
        except SignatureError as error:
            self.find(Kind.CHECKPOINT_MALFORMED, f"{what}: {error}")
            return None
        return head if self.signatures(what, head, note, ()) else None

    def signatures(self, what: str, head: Checkpoint, note: Note, witnesses: tuple[Verifier, ...]) -> bool:
        due = self.keys.due(head.size)
        if due and head.origin != due[0].name:
            self.find(Kind.CHECKPOINT_FORGED, f"{what}: it is of log '{head.origin}', not of '{due[0].name}'")
            return False
        for verifier in (*due, *witnesses):
            mine = [one for one in note.signatures if (one.name, one.key_id) == (verifier.name, verifier.key_id)]
            if not mine:
                by = ", ".join(one.key_id.hex() for one in note.signatures)
                reason = f"not signed by '{verifier.name}' ({verifier.key_id.hex()}), but by {by}"
            elif len(mine) > 1 or not verifier.verifies(note, mine[0]):
                reason = f"the signature of '{verifier.name}' ({verifier.key_id.hex()}) does not fit"
            else:
                continue
            self.find(Kind.CHECKPOINT_FORGED, f"{what}: {reason}")
            return False
        if not witnesses and len(note.signatures) != len(due) and what.startswith("checkpoint"):
            self.find(Kind.CHECKPOINT_FORGED, f"{what}: it bears signatures that are not the log's")
            return False
        return bool(due)

    def report(self, lines: _Lines | None) -> Report:
        self.findings[0:0] = self.places.findings()
        if self.covered > self.size:
            missing = _records(self.size, self.covered)
            self.find(Kind.TAIL_TRUNCATED, f"{missing} missing at the end: a checkpoint covers {self.covered} records")
        elif self.covered < self.size:
            self.find(Kind.CHECKPOINT_MISSING, f"{_records(self.covered, self.size)} not covered by any checkpoint")
        if lines is None:
            self.remarks.append("no second file was compared: an older copy of the whole log would look like this too")
        else:
            lines.end()
        history = self.keys.periods()
        if not history:
            self.find(
                Kind.RECORD_MISSING, "record 0, which creates the log and names its key, is missing or unreadable"
            )
        if not self.pinned:
            self.remarks.append("no key was pinned: the log vouches for its own key; compare it with one had elsewhere")
        elif history and not any(period.verifier in self.pinned for period in history):
            self.find(Kind.KEY_UNEXPECTED, "none of the log's keys is one that was expected")
        return Report(
            origin=history[0].verifier.name if history else "",
            size=self.size,
            root=self.frontier.root(),
            checkpoints=self.checkpoints,
            seen=0 if lines is None else lines.count,
            keys=history,
            findings=tuple(self.findings),
            remarks=tuple(self.remarks),
        )


class _Lines:
    """The second file, read beside the database: its checkpoints are some of the database's, in the same order."""

    def __init__(self, walk: _Walk, lines: Iterable[bytes]) -> None:
        self._walk = walk
        self._lines = self._parsed(lines)
        self._next = next(self._lines, None)
        self.count = 0

    def compare(self, head: Checkpoint) -> None:
        """Deal with every line up to a checkpoint of the database that holds."""
        while self._next is not None and self._next[0].size <= head.size:
            seen, note = self._next
            if self._signed(seen, note) and seen != head:
                what = "another tree" if seen.size == head.size else "a checkpoint, which the log has not,"
                self._walk.find(Kind.REWRITTEN, f"the second file saw {what} of {seen.size} records")
            self._advance()

    def end(self) -> None:
        """Deal with what is left: lines about records that the log has not, or has not any more."""
        ahead = 0
        while self._next is not None:
            seen, note = self._next
            if seen.size > self._walk.size and self._signed(seen, note):
                ahead = max(ahead, seen.size)
            self._advance()
        if ahead > max(self._walk.size, self._walk.covered) and not self._walk.broken:
            self._walk.find(
                Kind.ROLLED_BACK,
                f"the log ends at {self._walk.size} records and the second file saw {ahead}: the database is an older "
                "copy, or its tail was cut",
            )
        if self.count == 0:
            self._walk.remarks.append("the second file is empty: an older copy of the whole log would look like this")

    def _signed(self, seen: Checkpoint, note: Note) -> bool:
        what = f"second file, line {self.count + 1}"
        return self._walk.signatures(what, seen, note, self._walk.witnesses)

    def _advance(self) -> None:
        self.count += 1
        self._next = next(self._lines, None)

    def _parsed(self, lines: Iterable[bytes]) -> Iterator[tuple[Checkpoint, Note]]:
        before = 0
        try:
            for number, line in enumerate(lines, 1):
                try:
                    note, head = parse_line(line)
                    if head.size < before:
                        raise AuditError("it is out of order")
                except (AuditError, SignatureError) as error:
                    self._walk.find(Kind.SECOND_FILE_DAMAGED, f"second file, line {number}: {error}")
                    continue
                before = head.size
                yield head, note
        except AuditError as error:
            self._walk.find(Kind.SECOND_FILE_DAMAGED, str(error))


def _records(begin: int, end: int) -> str:
    return f"record {begin} is" if end - begin == 1 else f"records {begin} to {end - 1} are"
