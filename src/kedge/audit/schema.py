"""The tables of the log, in the database that also holds the state they speak about."""

from __future__ import annotations

from typing import Final

STATEMENTS: Final[dict[str, str]] = {
    "audit_record": """CREATE TABLE audit_record (
    seq INTEGER PRIMARY KEY,  -- index in the tree, from 0
    record BLOB NOT NULL      -- canonical JSON: the entry of the tree
) STRICT""",
    "audit_checkpoint": """CREATE TABLE audit_checkpoint (
    id INTEGER PRIMARY KEY,   -- from 0
    size INTEGER NOT NULL,    -- entries it covers
    note BLOB NOT NULL,       -- signed note
    frontier BLOB NOT NULL    -- roots of the complete subtrees, so that the tree can go on growing
) STRICT""",
    "audit_record_insert": """CREATE TRIGGER audit_record_insert BEFORE INSERT ON audit_record
WHEN NEW.seq IS NOT (SELECT COALESCE(MAX(seq), -1) + 1 FROM audit_record)
BEGIN SELECT RAISE(ABORT, 'the audit log only grows at its end'); END""",
    "audit_record_update": """CREATE TRIGGER audit_record_update BEFORE UPDATE ON audit_record
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
    "audit_record_delete": """CREATE TRIGGER audit_record_delete BEFORE DELETE ON audit_record
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
    "audit_checkpoint_insert": """CREATE TRIGGER audit_checkpoint_insert BEFORE INSERT ON audit_checkpoint
WHEN NEW.id IS NOT (SELECT COALESCE(MAX(id), -1) + 1 FROM audit_checkpoint)
BEGIN SELECT RAISE(ABORT, 'the audit log only grows at its end'); END""",
    "audit_checkpoint_update": """CREATE TRIGGER audit_checkpoint_update BEFORE UPDATE ON audit_checkpoint
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
    "audit_checkpoint_delete": """CREATE TRIGGER audit_checkpoint_delete BEFORE DELETE ON audit_checkpoint
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
}
"""By name, in the order they are made. The insert triggers also stop ``INSERT OR REPLACE``, which fires no delete."""

ADD_RECORD: Final = "INSERT INTO audit_record (seq, record) VALUES (?, ?)"
ADD_CHECKPOINT: Final = (
    "INSERT INTO audit_checkpoint (id, size, note, frontier) "
    "VALUES ((SELECT COALESCE(MAX(id), -1) + 1 FROM audit_checkpoint), ?, ?, ?)"
)
LAST_CHECKPOINT: Final = "SELECT size, note, frontier FROM audit_checkpoint ORDER BY id DESC LIMIT 1"
SIZE: Final = "SELECT COALESCE(MAX(seq), -1) + 1 FROM audit_record"
PRESENT: Final = "SELECT name, sql FROM sqlite_master WHERE name LIKE 'audit\\_%' ESCAPE '\\' ORDER BY name"
