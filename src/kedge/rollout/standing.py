"""What is in force and not in the database yet, in a small file of its own: a rollback is published before it is
recorded, and a crash in between must not bring the bundle back that it took from traffic.

The file has its full size from the first start on and is overwritten in place, so that it can be written where the disk
is full, which is when records are late. It has two slots, written in turns, each with a sequence number and a checksum:
where the power fails in the middle of one, the other says what stood before. What it says holds until the database has
the same epoch or a later one.
"""

from __future__ import annotations

import json
import logging
import os
import struct
import zlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from kedge.rollout.state import StateError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FILE: Final = "standing"
"""In the state directory."""
BYTES: Final = 128 * 1024
"""Of a slot."""
WORDS: Final = 300
"""Characters of a reason that are kept: the file must not overflow."""
_SEQUENCED: Final = struct.Struct("<QI")
_HEADER: Final = struct.Struct("<4sI")
"""Then the sequence number and the length, which the checksum covers as it does the text."""
_MAGIC: Final = b"KDG2"
_TEXT: Final = _HEADER.size + _SEQUENCED.size

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Standing:
    """What is in force for a model.

    Attributes:
        model: its name.
        epoch: of its route.
        back: pairs of bundle ids, in order: the one that was live and is rolled back, the one that is live for it.
        words: why.
        by: name of who did it, and how they were known.
    """

    model: str
    epoch: int
    back: tuple[tuple[str, str], ...] = ()
    words: str = ""
    by: tuple[str, str] = ("", "")


class StandingFile:
    """The file. Used under the manager's lock; a disk that fails is logged, since what is in force stands anyway.

    Args:
        directory: the state directory.

    Raises:
        StateError: the file cannot be made.
    """

    def __init__(self, directory: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._file = os.open(directory / FILE, flags, 0o600)
            if (missing := 2 * BYTES - os.fstat(self._file).st_size) > 0:
                _write(self._file, bytes(missing), 2 * BYTES - missing)
                os.fsync(self._file)
            self._number = max(number for number, _ in self._slots())
        except OSError as error:
            raise StateError(f"cannot use '{directory / FILE}': {error.strerror}") from error

    def write(self, standing: Sequence[Standing]) -> None:
        """Replace what it says; durable when this returns."""
        text = json.dumps([asdict(one) for one in standing]).encode()
        if len(text) > BYTES - _TEXT:
            log.error("what is in force and not recorded would not survive a crash: %d bytes are too many", len(text))
            return
        number = self._number + 1
        rest = _SEQUENCED.pack(number, len(text)) + text
        try:
            _write(self._file, _HEADER.pack(_MAGIC, zlib.crc32(rest)) + rest, number % 2 * BYTES)
            os.fdatasync(self._file)
        except OSError as error:
            log.error("what is in force and not recorded would not survive a crash: %s", error)  # noqa: TRY400
        else:
            self._number = number

    def read(self) -> tuple[Standing, ...]:
        """What it says; what it said before where a crash tore the last, and nothing where it was never written."""
        slots = self._slots()
        if any(number < 0 for number, _ in slots):
            log.error("'%s' is damaged: a rollback that was not recorded before a crash may be forgotten", FILE)
        _, text = max(slots)
        if not text:
            return ()
        return tuple(
            Standing(
                said["model"],
                said["epoch"],
                tuple((old, new) for old, new in said["back"]),
                said["words"],
                (said["by"][0], said["by"][1]),
            )
            for said in json.loads(text)
        )

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _slots(self) -> list[tuple[int, bytes]]:
        """Number and text of both: 0 of one that was never written, -1 of one that is damaged."""
        found = []
        for place in (0, BYTES):
            data = os.pread(self._file, BYTES, place)
            magic, checksum = _HEADER.unpack_from(data)
            number, size = _SEQUENCED.unpack_from(data, _HEADER.size)
            if magic != _MAGIC:
                found.append((0, b""))
            elif size > BYTES - _TEXT or zlib.crc32(data[_HEADER.size : _TEXT + size]) != checksum:
                found.append((-1, b""))
            else:
                found.append((number, data[_TEXT : _TEXT + size]))
        return found


def _write(file: int, data: bytes, place: int) -> None:
    """All of it: a call may write less."""
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, place)
        view, place = view[written:], place + written
