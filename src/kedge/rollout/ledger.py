"""State and evidence as one: every change is a transaction that holds both, or it did not happen."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Final

from kedge.audit import settings
from kedge.audit.errors import AuditError, KeyFileError
from kedge.audit.settings import AuditSettings
from kedge.errors import KedgeError
from kedge.rollout import answers, book
from kedge.rollout.book import Books
from kedge.rollout.database import SERVED, connect, migrate
from kedge.rollout.standing import StandingFile
from kedge.rollout.state import StateError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from kedge.audit.log import AuditLog, Transaction
    from kedge.audit.record import Draft
    from kedge.rollout.answers import Request
    from kedge.rollout.events import Events
    from kedge.rollout.plan import Plan
    from kedge.rollout.values import ModelState


DAMAGE: Final = (sqlite3.Error, ValueError, KeyError, TypeError, KedgeError)
"""What reading rows may end in that are not what was written."""


class Ledger:
    """The database of what is deployed, shared with the audit log.

    Args:
        database: as `kedge.rollout.database.connect` gives it.
        standing: of what is in force and not recorded.
        log: on the same connection; None where it cannot be used.
        fault: why it cannot. What is recorded is served then, and nothing can be changed.

    Attributes:
        standing: as given.
        log: the audit log, or None.
        fault: why there is none; empty where there is.

    Raises:
        AuditError: the tables could not be made.
    """

    def __init__(
        self, database: sqlite3.Connection, standing: StandingFile, log: AuditLog | None, fault: str = ""
    ) -> None:
        self._database = database
        self.standing = standing
        self.log = log
        self.fault = fault
        if log is not None:
            migrate(log)

    def read(self, events: Events) -> tuple[Books, int]:
        """Everything known, and the highest number a rollout ever had.

        Which bundles are live is all that it takes to serve. Where more cannot be read, that much is served, and
        nothing can be changed.

        Raises:
            StateError: not even that can be read.
        """
        execute = self._database.execute
        try:
            models = book.load_models(execute)
        except DAMAGE as error:
            raise StateError(
                f"the database of the state directory is damaged: {error}; restore a copy of kedge.db, or begin with "
                "another --state"
            ) from error
        try:
            events.restore(execute)
            return book.load(execute, models), book.newest_rollout(execute)
        except DAMAGE as error:
            self.log, self.fault = None, f"the database of the state directory is damaged: {error}"
            return Books(models, {}), 0

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """State and records together. Raises `AuditError`; nothing was changed then."""
        if self.log is None:
            raise AuditError(f"nothing can be changed while the audit log cannot be written: {self.fault}")
        with self.log.transaction() as work:
            yield work

    def append(self, draft: Draft) -> None:
        """A record about something that changes no state here. Raises `AuditError`."""
        with self.transaction() as work:
            work.append(draft)

    def answered(self, request: Request) -> ModelState | None:
        """The answer that was given to this request before, or None. Raises `KeyReusedError`."""
        return answers.find(self._database.execute, request)

    def plan_of(self, bundle: str) -> Plan | None:
        """The plan a bundle was last rolled out by; None where it never was, or that cannot be read any more."""
        try:
            return book.plan_of(self._database.execute, bundle)
        except DAMAGE:
            return None

    def deleted(self, request: Request) -> bool:
        """Whether this request to delete was carried out before. Raises `KeyReusedError`."""
        return answers.noted(self._database.execute, request)

    def unclean(self) -> bool:
        """Whether the server that ran last was killed, or went with the machine; where that cannot be read, it was."""
        try:
            return self._database.execute("SELECT process FROM running").fetchone() is not None
        except sqlite3.Error:
            return True

    def leaving(self) -> tuple[str, ...]:
        """Ids of bundles whose files are to be removed; none where that cannot be read."""
        try:
            return tuple(row[0] for row in self._database.execute("SELECT bundle FROM leaving ORDER BY bundle"))
        except sqlite3.Error:
            return ()

    def leaves(self, work: Transaction, bundle: str) -> None:
        """Note, within a transaction, that the files of a bundle are to be removed."""
        work.execute("INSERT OR IGNORE INTO leaving (bundle) VALUES (?)", (bundle,))

    def settled(self, work: Transaction, bundle: str) -> None:
        """Note, within a transaction, that they are gone, or stay."""
        work.execute("DELETE FROM leaving WHERE bundle = ?", (bundle,))

    def began(self, process: int, now: float, epochs: Mapping[str, int]) -> None:
        """Note that this process runs, and the epochs that routes begin with, by model. Raises `AuditError`."""
        with self.transaction() as work:
            for model, epoch in epochs.items():
                work.execute("UPDATE model SET epoch = ? WHERE name = ?", (epoch, model))
            work.execute("DELETE FROM running")
            work.execute("INSERT INTO running (process, since) VALUES (?, ?)", (process, now))

    def ended(self) -> None:
        """Note a clean end. Raises `AuditError`."""
        with self.transaction() as work:
            work.execute("DELETE FROM running")

    def close(self) -> None:
        """Close the database."""
        self.standing.close()
        self._database.close()


def open_ledger(directory: Path, audit: AuditSettings | None = None) -> Ledger:
    """The ledger of a state directory, made where there is none yet, with a key for its audit log.

    Where the audit log cannot be gone on with, what is deployed is known all the same: see `Ledger.fault`.

    Args:
        directory: the state directory, locked by this process.
        audit: how the log is kept.

    Raises:
        StateError: the database cannot be used, or there is nothing in it to serve without an audit log.
    """
    database = connect(directory)
    try:
        standing = StandingFile(directory)
    except StateError:
        database.close()
        raise
    try:
        log = settings.open_log(directory, database, audit or AuditSettings())
        return Ledger(database, standing, log)
    except (AuditError, KeyFileError) as error:
        try:
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if version in SERVED:
                return Ledger(database, standing, None, str(error))
        except sqlite3.Error:
            pass
        standing.close()
        database.close()
        raise StateError(f"cannot use the state directory '{directory}': {error}") from error
