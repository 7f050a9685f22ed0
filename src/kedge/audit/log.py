"""The append-only log: records and the state they speak about in one SQLite transaction, sealed by a checkpoint.

Every transaction that appended ends in a checkpoint over the whole tree, signed and stored with it; once it is
committed the checkpoint goes to the second file too. A crash leaves a transaction whole or not at all, and at most some
of the newest checkpoints out of the second file, where the next start puts the last of them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
from typing import TYPE_CHECKING, Any, Final

from kedge.audit import schema
from kedge.audit.checkpoint import Checkpoint
from kedge.audit.clock import system_clock
from kedge.audit.errors import AuditError, SignatureError
from kedge.audit.frontier import Frontier
from kedge.audit.merkle import leaf_hash
from kedge.audit.note import Note, open_note
from kedge.audit.record import KEY_ROTATED, LOG_CREATED, SYSTEM, Draft, Record, place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kedge.audit.clock import Clock, Moment, Randomness
    from kedge.audit.note import Signer
    from kedge.audit.record import Pseudonyms
    from kedge.audit.second import SecondFile

UUID_RANDOM_BYTES: Final = 10

log = logging.getLogger(__name__)


class Transaction:
    """What a transaction of the log may do: change state through `execute`, and append records about it."""

    def __init__(self, log: AuditLog, frontier: Frontier, moment: Moment) -> None:
        self._log = log
        self.moment = moment
        self.frontier = frontier
        self.signers: tuple[Signer, ...] = (log.signer,)

    def execute(self, sql: str, parameters: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        """Run a statement on the state that lives in the same database."""
        return self._log.database.execute(sql, parameters)

    def append(self, draft: Draft) -> Record:
        """Add a record; it is durable once the transaction is. Raises `RecordError` if it is too long."""
        if self._log.pseudonyms is not None:
            draft = self._log.pseudonyms.hide(draft)
        random = self._log.randomness(UUID_RANDOM_BYTES)
        record = place(draft, self.frontier.size, self.moment, random, self._log.software)
        entry = record.to_bytes()
        self.execute(schema.ADD_RECORD, (record.sequence, entry))
        self.frontier.append(leaf_hash(entry))
        return record


class AuditLog:
    """A log that this process appends to. Thread-safe; one process at a time (the state directory is locked).

    Args:
        database: a connection in autocommit mode (``isolation_level=None``, ``check_same_thread=False``), WAL,
            synchronous=FULL: the one that holds the state, so that state and record are one transaction.
        signer: the log's key; its name is the origin.
        second: where checkpoints are kept again.
        clock: read once a transaction.
        randomness: as `os.urandom`.
        software: version or digest of this program, for the records.
        pseudonyms: by which every actor but the server itself enters the log; None takes names as they are.

    Attributes:
        behind: why the newest checkpoint is not in the second file, or None. It is written again with the next one.

    Raises:
        AuditError: the log is damaged, signed by another key, or older than the second file: rolled back.
    """

    def __init__(
        self,
        database: sqlite3.Connection,
        signer: Signer,
        *,
        software: str,
        second: SecondFile | None = None,
        clock: Clock = system_clock,
        randomness: Randomness = os.urandom,
        pseudonyms: Pseudonyms | None = None,
    ) -> None:
        self.database = database
        self.signer = signer
        self.software = software
        self.randomness = randomness
        self.pseudonyms = pseudonyms
        self.behind: str | None = None
        self._second = second
        self._clock = clock
        self._lock = threading.RLock()
        self._frontier = Frontier()
        try:
            if database.execute(schema.PRESENT).fetchall():
                self._resume()
            else:
                self._create()
        except sqlite3.Error as error:
            raise AuditError(f"cannot use the audit log: {error}") from error

    @property
    def size(self) -> int:
        """Records in the log."""
        return self._frontier.size

    @property
    def checkpoint(self) -> Checkpoint:
        """The tree as it is."""
        return Checkpoint(self.signer.name, self._frontier.size, self._frontier.root())

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """State and records together: all of it is durable when the block ends, or none of it happened.

        Raises:
            AuditError: the database did not take it.
        """
        with self._lock:
            moment = self._clock()
            work = Transaction(self, self._frontier.copy(), moment)
            note: Note | None = None
            try:
                self.database.execute("BEGIN IMMEDIATE")
                try:
                    yield work
                    if work.frontier.size > self._frontier.size:
                        note = self._seal(work)
                    self.database.execute("COMMIT")
                except BaseException:
                    if self.database.in_transaction:
                        self.database.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise AuditError(f"the audit log did not take a record: {error}") from error
            if note is not None:
                self._frontier = work.frontier
                self.signer = work.signers[-1]
                self._keep(note, moment)

    def append(self, draft: Draft) -> Record:
        """One record in a transaction of its own; durable when this returns. Raises as `transaction`."""
        with self.transaction() as work:
            return work.append(draft)

    def rotate(self, successor: Signer, draft: Draft | None = None) -> Record:
        """Go on with another key. The record names it, and its checkpoint is signed by both.

        Args:
            successor: the new key; its name must be the log's origin.
            draft: who did it and why; its action and details are set here.

        Raises:
            AuditError: the name differs, or the key is the one in force.
        """
        if successor.name != self.signer.name or successor.verifier == self.signer.verifier:
            raise AuditError(f"the successor must be another key under the name '{self.signer.name}'")
        details = {"key": successor.verifier.vkey, "previous": self.signer.verifier.vkey}
        draft = draft or Draft(action=KEY_ROTATED, actor=SYSTEM)
        with self.transaction() as work:
            work.signers = (self.signer, successor)
            return work.append(draft.model_copy(update={"action": KEY_ROTATED, "details": details}))

    def _seal(self, work: Transaction) -> Note:
        head = Checkpoint(self.signer.name, work.frontier.size, work.frontier.root())
        note = head.sign(*work.signers)
        work.execute(schema.ADD_CHECKPOINT, (head.size, note.to_bytes(), work.frontier.hashes))
        return note

    def _create(self) -> None:
        with self.transaction() as work:
            for statement in schema.STATEMENTS.values():
                work.execute(statement)
            details = {"origin": self.signer.name, "key": self.signer.verifier.vkey}
            work.append(Draft(action=LOG_CREATED, actor=SYSTEM, details=details))

    def _resume(self) -> None:
        row = self.database.execute(schema.LAST_CHECKPOINT).fetchone()
        (size,) = self.database.execute(schema.SIZE).fetchone()
        if row is None or row[0] != size:
            raise AuditError(f"the audit log has {size} records and no checkpoint over them; run: kedge audit verify")
        try:
            note, _ = open_note(row[1], (self.signer.verifier,))
            head = Checkpoint.parse(note.text)
            frontier = Frontier(size, row[2])
        except (SignatureError, ValueError) as error:
            raise AuditError(f"the newest checkpoint of the audit log: {error}; run: kedge audit verify") from error
        if head != Checkpoint(self.signer.name, size, frontier.root()):
            raise AuditError("the audit log does not fit its newest checkpoint; run: kedge audit verify")
        self._frontier = frontier
        self._compare(note, head)

    def _compare(self, note: Note, head: Checkpoint) -> None:
        """Refuse to go on from a database that is older than, or differs from, what the second file saw."""
        if self._second is None:
            return
        seen = self._second.last()
        if seen is None:
            self._keep(note, self._clock())
            return
        _, known = seen
        where = f"'{self._second.path}'"
        if known.size > head.size:
            raise AuditError(
                f"the audit log ends at {head.size} records, {where} has seen {known.size}: the database was rolled "
                "back or cut; restore the newest copy"
            )
        row = self.database.execute(
            "SELECT note FROM audit_checkpoint WHERE size = ? ORDER BY id LIMIT 1", (known.size,)
        ).fetchone()
        if row is None or not bytes(row[0]).startswith(known.text() + b"\n"):
            raise AuditError(f"the audit log is not the one that {where} saw at {known.size} records; it was rewritten")
        if known.size < head.size:
            self._keep(note, self._clock())

    def _keep(self, note: Note, moment: Moment) -> None:
        """Put a committed checkpoint into the second file. It is committed whatever happens here."""
        if self._second is None:
            return
        try:
            self._second.append(note, moment)
            self.behind = None
        except AuditError as error:
            if self.behind is None:
                log.warning(
                    "checkpoints do not reach the second file; they are written again with the next record",
                    extra={"data": {"reason": str(error)}},
                )
            self.behind = str(error)
