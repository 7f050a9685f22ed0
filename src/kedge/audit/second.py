"""The second file: every checkpoint again, outside the database, so that an older copy of the database is noticed.

One JSON object a line, ``{"note": ...}``. Kept on another disk or machine it is a witness; with a witness's own key
each note bears its timestamped cosignature (c2sp.org/tlog-cosignature).
"""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING, Final

from kedge.audit import canonical
from kedge.audit.checkpoint import Checkpoint
from kedge.audit.errors import AuditError, SignatureError
from kedge.audit.note import MAX_NOTE_BYTES, Note

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kedge.audit.clock import Moment
    from kedge.audit.note import Signer

MAX_LINE: Final = 2 * MAX_NOTE_BYTES


class SecondFile:
    """Checkpoints of one log, appended.

    Args:
        path: made (0600) with the first checkpoint.
        witness: key to cosign with, or None. It should not be the log's.
    """

    def __init__(self, path: Path, witness: Signer | None = None) -> None:
        self.path = path
        self._witness = witness

    def append(self, note: Note, moment: Moment) -> None:
        """Add a checkpoint. A line that a crash cut short is dropped first.

        It is not waited for: what a power cut takes from this file is put back at the next start, from a database
        that waits for every commit. A second sync would double what a transition costs.

        Raises:
            AuditError: it cannot be written.
        """
        if self._witness is not None:
            cosignature = self._witness.cosign(note.text, moment.nanoseconds // 1_000_000_000)
            note = Note(note.text, (*note.signatures, cosignature))
        line = canonical.encode({"note": note.to_bytes().decode()}) + b"\n"
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                size = os.fstat(descriptor).st_size
                end = _whole(descriptor, size)
                if end != size:
                    os.ftruncate(descriptor, end)
                if os.pwrite(descriptor, line, end) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            finally:
                os.close(descriptor)
        except OSError as error:
            raise AuditError(f"cannot write checkpoints to '{self.path}': {error.strerror}") from error

    def last(self) -> tuple[Note, Checkpoint] | None:
        """The newest whole checkpoint, or None where there is none.

        Raises:
            AuditError: the last line is not a checkpoint, or the file cannot be read.
        """
        newest = None
        for newest in self.lines():  # noqa: B007 - the last one is wanted
            pass
        if newest is None:
            return None
        try:
            return parse_line(newest)
        except (AuditError, SignatureError) as error:
            raise AuditError(f"'{self.path}': its last line is no checkpoint: {error}") from error

    def length(self) -> int | None:
        """Bytes of it, or None where there is none: asked before the database is read, which must not be older."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return None

    def lines(self, length: int | None = None) -> Iterator[bytes]:
        """Every whole line, without its newline; a last line without one was cut short by a crash.

        Args:
            length: bytes to read, as `length` gave them: a server may have gone on since.

        Raises:
            AuditError: the file cannot be read.
        """
        left = sys.maxsize if length is None else length
        try:
            with self.path.open("rb") as file:
                while line := file.readline(min(MAX_LINE, left)):
                    left -= len(line)
                    if line.endswith(b"\n"):
                        yield line[:-1]
                    elif len(line) == MAX_LINE:
                        raise AuditError(f"'{self.path}': a line longer than {MAX_LINE} bytes")
        except FileNotFoundError:
            return
        except OSError as error:
            raise AuditError(f"cannot read '{self.path}': {error.strerror}") from error


def parse_line(line: bytes) -> tuple[Note, Checkpoint]:
    """A line of the file, nothing of it verified. Raises `AuditError` or `SignatureError`."""
    value = canonical.decode_record(line, "line")
    text = value.get("note")
    if set(value) != {"note"} or not isinstance(text, str):
        raise AuditError("line: not one note")
    note = Note.parse(text.encode())
    return note, Checkpoint.parse(note.text)


def _whole(descriptor: int, size: int) -> int:
    """Where the last whole line of a file of this size ends."""
    if size == 0 or os.pread(descriptor, 1, size - 1) == b"\n":
        return size
    begin = max(0, size - MAX_LINE)
    return begin + os.pread(descriptor, size - begin, begin).rfind(b"\n") + 1
