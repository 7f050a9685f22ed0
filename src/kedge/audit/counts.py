"""Counts kept as evidence: bytes under their SHA-256, so that a record names them by their digest and nothing else.

::

    ROOT/<first two hex digits>/<SHA-256 of the bytes, 64 hex digits>.z    zlib-compressed
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
import zlib
from typing import TYPE_CHECKING, Any, Final

from kedge.audit.errors import AuditError
from kedge.audit.keys import sync
from kedge.errors import Code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

COUNTS: Final = "counts"
"""In the state directory."""
KEEP_DAYS: Final = 200
"""Logs of high-risk systems are kept for at least six months: EU AI Act, articles 19(1) and 26(6)."""
KEEP_BYTES: Final = 4 * 1024**3
"""Of all files together: beyond it the oldest go first, whatever their age, and a record says how many went."""
MAX_BYTES: Final = 256 * 1024 * 1024
"""Of one snapshot, unpacked: what a damaged file may claim."""
NAMED_AS: Final = ("counts", "memory")
"""Fields of records that hold a digest."""
_DAY: Final = 86400.0
_NAME: Final = re.compile(r"[0-9a-f]{64}\.z")


class CountsGoneError(AuditError):
    """Counts that a record names are not kept any more, or not what they were."""

    code = Code.NOT_FOUND


class CountStore:
    """Snapshot bytes by their digest. One process writes, any number read.

    Args:
        root: made (0700) with the first snapshot.
        clock: seconds since 1970; what is old goes.
    """

    def __init__(self, root: Path, clock: Callable[[], float] = time.time) -> None:
        self.root = root
        self._clock = clock

    def put(self, data: bytes) -> str:
        """Keep bytes durably; a digest that is named in a record afterwards can be looked up.

        Returns:
            Their SHA-256, 64 hex digits.

        Raises:
            AuditError: they cannot be written.
        """
        digest = hashlib.sha256(data).hexdigest()
        path = self._path(digest)
        try:
            now = self._clock()
            if path.exists():
                os.utime(path, (now, now))  # named again: it lives from now on
                return digest
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            partial = path.with_name(f".{secrets.token_hex(4)}.partial")
            try:
                with partial.open("xb") as file:
                    file.write(zlib.compress(data, 6))
                    file.flush()
                    os.fsync(file.fileno())
                os.utime(partial, (now, now))
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)  # it would fill a full disk by half a file every time it is tried
            sync(path.parent)
            sync(self.root)
        except OSError as error:
            raise AuditError(f"cannot keep counts in '{self.root}': {error.strerror}") from error
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes of a digest.

        Raises:
            CountsGoneError: they are gone, or damaged.
        """
        if not _NAME.fullmatch(f"{digest}.z"):
            raise CountsGoneError(f"{digest[:80]!a} is no SHA-256")
        try:
            data = _inflate(self._path(digest).read_bytes())
        except FileNotFoundError as error:
            raise CountsGoneError(
                f"counts {digest[:16]} are not in '{self.root}'; they were kept for a time"
            ) from error
        except OSError as error:
            raise CountsGoneError(f"counts {digest[:16]} cannot be read: {error.strerror}") from error
        except zlib.error as error:
            raise CountsGoneError(f"counts {digest[:16]} are damaged: {error}") from error
        if hashlib.sha256(data).hexdigest() != digest:
            raise CountsGoneError(f"counts {digest[:16]} are damaged: their SHA-256 is another")
        return data

    def prune(self, keep_days: float = KEEP_DAYS, keep_bytes: int = KEEP_BYTES) -> int:
        """Remove what is older than `keep_days`, and the oldest beyond `keep_bytes`; returns how many went.

        Args:
            keep_days: since they were named last.
            keep_bytes: of all files together.

        Raises:
            AuditError: one cannot be removed.
        """
        oldest = self._clock() - keep_days * _DAY
        try:
            for partial in self.root.glob("??/.*.partial"):  # a crash left it: one process writes here
                partial.unlink()
            files = [(path.stat(), path) for path in self.root.glob("??/*") if _NAME.fullmatch(path.name)]
            newest_first = sorted(files, key=lambda item: item[0].st_mtime, reverse=True)
            total, gone = 0, 0
            for status, path in newest_first:
                total += status.st_size
                if status.st_mtime < oldest or total > keep_bytes:
                    path.unlink()
                    gone += 1
        except OSError as error:
            raise AuditError(f"cannot remove old counts from '{self.root}': {error.strerror}") from error
        return gone

    def _path(self, digest: str) -> Path:
        return self.root / digest[:2] / f"{digest}.z"


def digests_in(details: Any) -> Iterator[str]:
    """Digests of snapshots that a record's details name, under ``counts`` and ``memory``."""
    if isinstance(details, dict):
        for name, value in details.items():
            if name in NAMED_AS and isinstance(value, str):
                yield value
            else:
                yield from digests_in(value)
    elif isinstance(details, list):
        for value in details:
            yield from digests_in(value)


def _inflate(data: bytes) -> bytes:
    packed = zlib.decompressobj()
    found = packed.decompress(data, MAX_BYTES)
    if not packed.eof:
        raise zlib.error("it ends early, or unpacks to more than any snapshot")
    return found
