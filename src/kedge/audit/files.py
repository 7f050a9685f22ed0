"""Where the log of a state directory lies, and opening it with the key it is signed with."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kedge.audit import keys, schema
from kedge.audit.clock import system_clock
from kedge.audit.errors import AuditError, KeyFileError, SignatureError
from kedge.audit.log import AuditLog
from kedge.audit.note import Note, Signer, Verifier
from kedge.audit.second import SecondFile

if TYPE_CHECKING:
    from pathlib import Path

    from kedge.audit.clock import Clock, Randomness
    from kedge.audit.record import Draft, Pseudonyms

DATABASE: Final = "kedge.db"
CHECKPOINTS: Final = "kedge.checkpoints"
KEYS: Final = "keys"


def connect(directory: Path) -> sqlite3.Connection:
    """The database of a state directory, made if missing, durable at every commit. Raises `AuditError`."""
    try:
        database = sqlite3.connect(directory / DATABASE, isolation_level=None, check_same_thread=False)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
    except sqlite3.Error as error:
        raise AuditError(f"cannot use '{directory / DATABASE}': {error}") from error
    return database


def open_log(
    directory: Path,
    database: sqlite3.Connection,
    *,
    software: str,
    checkpoints: Path | None = None,
    witness: Signer | None = None,
    clock: Clock = system_clock,
    randomness: Randomness = os.urandom,
    pseudonyms: Pseudonyms | None = None,
) -> AuditLog:
    """The log of a state directory; where there is none yet it is created, with a key of its own.

    Args:
        directory: the state directory, locked by this process.
        database: its database, as `connect` gives it.
        software: version or digest of this program.
        checkpoints: the second file; best on another disk. ``kedge.checkpoints`` beside the database if None.
        witness: key that cosigns in the second file.
        clock: for records.
        randomness: for records and for the name of a new log.
        pseudonyms: by which actors enter the log.

    Raises:
        AuditError: as `AuditLog`.
        KeyFileError: the key of the log is missing or open to others.
    """
    second = SecondFile(checkpoints or directory / CHECKPOINTS, witness)
    folder = directory / KEYS
    folder.mkdir(mode=0o700, exist_ok=True)
    signer = _signer(folder, database)
    if signer is None:
        if second.last() is not None:
            raise AuditError(f"'{second.path}' has seen an audit log, the database has none: restore the newest copy")
        signer = new_key(folder, f"kedge.log/{randomness(8).hex()}")
    return AuditLog(
        database,
        signer,
        software=software,
        second=second,
        clock=clock,
        randomness=randomness,
        pseudonyms=pseudonyms,
    )


def new_key(folder: Path, origin: str) -> Signer:
    """Make a key for a log: ``audit-<key id>.key`` (0600) and its verifier key, ``audit-<key id>.vkey``."""
    signer = Signer(origin, Ed25519PrivateKey.generate())
    path = _key_path(folder, signer.verifier.key_id)
    keys.store(signer.private, path)
    keys.create(path.with_suffix(".vkey"), f"{signer.verifier.vkey}\n".encode(), 0o644)
    return signer


def rotate(directory: Path, log: AuditLog, draft: Draft | None = None) -> Signer:
    """Give a log a new key: on disk first, then in the log. The old one stays, for nothing but the record of it."""
    successor = new_key(directory / KEYS, log.signer.name)
    log.rotate(successor, draft)
    return successor


def known_keys(directory: Path) -> tuple[Verifier, ...]:
    """Verifier keys that lie in a state directory. Raises `KeyFileError` if one is malformed."""
    found = []
    for path in sorted((directory / KEYS).glob("audit-*.vkey")):
        try:
            found.append(Verifier.parse(path.read_text("ascii", "replace").strip()))
        except (OSError, SignatureError) as error:
            raise KeyFileError(f"'{path}' is no verifier key: {error}") from error
    return tuple(found)


def _signer(folder: Path, database: sqlite3.Connection) -> Signer | None:
    """The key that signed the newest checkpoint, or None where there is no log."""
    try:
        if not database.execute(schema.PRESENT).fetchall():
            return None
        row = database.execute(schema.LAST_CHECKPOINT).fetchone()
        newest = Note.parse(row[1] if row else b"").signatures[-1]
    except (sqlite3.Error, SignatureError) as error:
        raise AuditError(f"the audit log has no readable checkpoint: {error}; run: kedge audit verify") from error
    return Signer(newest.name, keys.load_private(_key_path(folder, newest.key_id)))


def _key_path(folder: Path, key_id: bytes) -> Path:
    return folder / f"audit-{key_id.hex()}.key"
