"""What verification of a log comes to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kedge.audit.note import Verifier


class Kind(Enum):
    """What is wrong, in one word that scripts can rely on."""

    DATABASE_DAMAGED = "database-damaged"
    SCHEMA_CHANGED = "schema-changed"
    RECORD_MALFORMED = "record-malformed"
    RECORD_CHANGED = "record-changed"
    RECORD_MISSING = "record-missing"
    RECORDS_REORDERED = "records-reordered"
    TAIL_TRUNCATED = "tail-truncated"
    ROLLED_BACK = "rolled-back"
    REWRITTEN = "rewritten"
    CHECKPOINT_MALFORMED = "checkpoint-malformed"
    CHECKPOINT_MISSING = "checkpoint-missing"
    CHECKPOINT_FORGED = "checkpoint-forged"
    SECOND_FILE_DAMAGED = "second-file-damaged"
    KEY_UNEXPECTED = "key-unexpected"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, and where."""

    kind: Kind
    message: str


@dataclass(frozen=True)
class KeyPeriod:
    """A key of the log, and the checkpoints it signs.

    Attributes:
        verifier: the key.
        first: size of the first tree it signs.
        last: size of the last one, or None for the key in force. The first checkpoint of a successor bears both.
    """

    verifier: Verifier
    first: int
    last: int | None


@dataclass(frozen=True)
class Report:
    """What was recomputed, and what did not fit.

    Attributes:
        origin: which log; empty if its first record is unreadable.
        size: records read.
        root: of the tree over them, 32 bytes.
        checkpoints: in the database.
        seen: checkpoints in the second file.
        keys: of the log, in order.
        findings: what is wrong; none if the log holds.
        remarks: what the verdict does not rest on, and a reader should know.
    """

    origin: str
    size: int
    root: bytes
    checkpoints: int
    seen: int
    keys: tuple[KeyPeriod, ...]
    findings: tuple[Finding, ...]
    remarks: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings
