"""The server's database: what is deployed, and the audit log that says why, on one connection."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final

from kedge.audit import files
from kedge.audit.errors import AuditError
from kedge.audit.record import SYSTEM, Draft
from kedge.rollout.state import StateError

if TYPE_CHECKING:
    from pathlib import Path

    from kedge.audit.log import AuditLog

SCHEMA_VERSION: Final = 3
TABLES: Final = (
    """CREATE TABLE model (
    name TEXT PRIMARY KEY,
    live TEXT NOT NULL,       -- bundle id, 64 hex digits; empty where none is live yet
    last_good TEXT NOT NULL,  -- bundle that was live before and stays warm; empty where there is none
    epoch INTEGER NOT NULL,   -- of the route; grows with every change of it
    revision INTEGER NOT NULL, -- grows with every change of the model, its rollout and its bundles
    since REAL NOT NULL       -- when `live` became so, seconds since 1970
) STRICT""",
    """CREATE TABLE bundle (
    id TEXT PRIMARY KEY,      -- 64 hex digits
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    state TEXT NOT NULL,      -- as `kedge.rollout.states` names it
    since REAL NOT NULL,      -- when it came to be so, seconds since 1970
    reason TEXT NOT NULL
) STRICT""",
    """CREATE TABLE rollout (
    id INTEGER PRIMARY KEY,
    model TEXT NOT NULL,
    bundle TEXT NOT NULL,     -- the candidate
    ended INTEGER NOT NULL,   -- 1 once it is over
    body TEXT NOT NULL        -- JSON: all else, as `kedge.rollout.book` writes it
) STRICT""",
    "CREATE UNIQUE INDEX rollout_under_way ON rollout (model) WHERE ended = 0",
    """CREATE TABLE request (
    key TEXT PRIMARY KEY,     -- idempotency key, chosen by the caller
    command TEXT NOT NULL,    -- SHA-256 of the command and its arguments
    answer TEXT NOT NULL,     -- JSON
    at REAL NOT NULL
) STRICT""",
    """CREATE TABLE event (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    body TEXT NOT NULL        -- JSON, as `kedge.rollout.events` writes it
) STRICT""",
    """CREATE TABLE running (
    process INTEGER NOT NULL, -- of a server that has not ended cleanly
    since REAL NOT NULL
) STRICT""",
)
LEAVING: Final = """CREATE TABLE leaving (
    bundle TEXT PRIMARY KEY   -- whose files are to be removed: deleted, or received and not recorded yet
) STRICT"""
SERVED: Final = (2, SCHEMA_VERSION)
"""Schemas that tell what is live."""


def connect(directory: Path) -> sqlite3.Connection:
    """Open the database of a state directory.

    Raises:
        StateError: it cannot be used, or was written by a newer Kedge.
    """
    try:
        database = files.connect(directory)
        (version,) = database.execute("PRAGMA user_version").fetchone()
    except (AuditError, sqlite3.Error) as error:
        text = str(error) if isinstance(error, AuditError) else f"cannot use '{directory / files.DATABASE}': {error}"
        raise StateError(text) from error
    if version > SCHEMA_VERSION:
        database.close()
        raise StateError(
            f"'{directory / files.DATABASE}' was written by a newer Kedge (schema {version}, this one knows "
            f"{SCHEMA_VERSION}); start that one, or restore a copy from before"
        )
    return database


def migrate(log: AuditLog) -> None:
    """Bring the tables to this version: one transaction, with a record of it where there was something before.

    Raises:
        AuditError: the database did not take it; nothing was changed.
    """
    (version,) = log.database.execute("PRAGMA user_version").fetchone()
    if version == SCHEMA_VERSION:
        return
    with log.transaction() as work:
        for statement in TABLES if version < 2 else ():
            work.execute(statement)
        work.execute(LEAVING)
        live = []
        if version == 1:
            live = work.execute("SELECT model, bundle, epoch FROM live ORDER BY model").fetchall()
            work.execute(
                "INSERT INTO model (name, live, last_good, epoch, revision, since) "
                "SELECT model, bundle, '', epoch, 0, since FROM live"
            )
            work.execute("DROP TABLE live")
        if version:
            work.append(
                Draft(
                    action="state.migrated",
                    actor=SYSTEM,
                    rationale=f"the database had schema {version} and has {SCHEMA_VERSION} now",
                    details={"live": [{"model": m, "bundle": b, "epoch": e} for m, b, e in live]},
                )
            )
        work.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
