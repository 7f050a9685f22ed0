"""Archives that arrive in pieces: partial files of the state directory, bounded in number, size and age.

::

    uploads/<key>/archive.kedge          what has arrived of one upload
    uploads/<key>/archive.kedge.*.dsse.json  attestations, once it is complete

The key is made of digests, of the caller and of both the caller and the archive's digest: nothing of a request becomes
part of a path, two callers who send the same archive do not write into each other's, and a caller's can be counted.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import threading
from typing import TYPE_CHECKING, Final

from kedge.audit import sidecars
from kedge.bundle import limits
from kedge.errors import Code, KedgeError, RequestError
from kedge.rollout.state import StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from kedge.bundle.contents import Bundle

DIRECTORY: Final = "uploads"
"""In the state directory."""
ARCHIVE: Final = "archive.kedge"
MOST: Final = 16
"""Partial uploads at a time: each may hold as many bytes as the disk has."""
OF_ONE_CALLER: Final = 12
"""Of those: nobody keeps all others out for a day."""
AGE: Final = 24 * 3600.0
"""Seconds after which an upload that nobody went on with is removed."""
CHUNK_BYTES: Final = 512 * 1024
RESERVE_BYTES: Final = 64 * limits.MIB
"""Of the disk that no upload may take: the database and its log live there too."""
MAX_ATTESTATIONS: Final = 16
MAX_ATTESTATION_BYTES: Final = 512 * 1024
"""Of all attestations of one upload together."""
_OWNER: Final = 16
"""Digits at the beginning of a key that say whose upload it is."""
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Upload:
    """One upload under way, its caller's alone. Made by `Uploads.begin`.

    Attributes:
        offset: bytes that have arrived.
        size: bytes of the whole archive.
    """

    def __init__(self, folder: Path, digest: str, size: int) -> None:
        self._folder = folder
        self._path = folder / ARCHIVE
        self._digest = digest
        self.size = size
        folder.mkdir(mode=0o700, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(self._path, flags, 0o600)
        self.offset = os.fstat(self._file).st_size

    def write(self, offset: int, data: bytes) -> None:
        """Append a piece.

        Raises:
            RequestError: it is not the next one, too long, or the disk is full.
        """
        if offset != self.offset:
            raise _invalid(f"a chunk at offset {offset}, expected {self.offset}: go on there")
        if not 0 < len(data) <= CHUNK_BYTES:
            raise _invalid(f"a chunk of {len(data)} bytes; send 1 to {CHUNK_BYTES}")
        if offset + len(data) > self.size:
            raise _invalid(f"more than the {self.size} bytes that the header announced")
        view = memoryview(data)
        try:
            while view:
                written = os.pwrite(self._file, view, self.offset)
                view, self.offset = view[written:], self.offset + written
        except OSError as error:
            if error.errno in _FULL:
                self.discard()  # a full disk stops the database as well
                raise RequestError(Code.RESOURCE_EXHAUSTED, "the server's disk is full; the upload is gone") from error
            raise

    def finish(self, attestations: Sequence[bytes], admit: Callable[[Path], Bundle]) -> Bundle:
        """Check the whole and hand it on; it is gone from here whatever comes of it.

        Args:
            attestations: DSSE envelopes, to be beside the archive.
            admit: takes the archive into the store.

        Raises:
            RequestError: pieces are missing (then it stays), or the digest differs.
            KedgeError: as `admit`.
        """
        if self.offset < self.size:
            raise _invalid(f"{self.offset} of {self.size} bytes have arrived; send the rest")
        try:
            with os.fdopen(os.dup(self._file), "rb") as file:
                file.seek(0)
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != self._digest:
                raise _invalid(f"what arrived has SHA-256 {found}, the header announced {self._digest}; send it again")
            for data in attestations:
                name = f"{ARCHIVE}.{hashlib.sha256(data).hexdigest()[:32]}{sidecars.SUFFIX}"
                (self._folder / name).write_bytes(data)
            return admit(self._path)
        finally:
            self.discard()

    def discard(self) -> None:
        """Remove what arrived."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def close(self) -> None:
        """Leave what arrived for another call."""
        os.close(self._file)


class Uploads:
    """Partial uploads of a state directory. Thread-safe; one process at a time (the state directory is locked).

    Args:
        state: the state directory.
        clock: seconds since 1970, as the file system counts them.
        free: bytes that the disk of a directory has left; None asks the system.

    Raises:
        StateError: the directory cannot be made.
    """

    def __init__(self, state: Path, clock: Callable[[], float], free: Callable[[Path], int] | None = None) -> None:
        self._root = state / DIRECTORY
        self._clock = clock
        self._free = free or _free
        self._lock = threading.Lock()
        self._active: dict[str, Upload] = {}
        try:
            self._root.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StateError(f"cannot make '{self._root}': {error.strerror}") from error
        self._sweep()

    def offset(self, owner: str, digest: str) -> int:
        """Bytes that have arrived of an owner's upload.

        Raises:
            RequestError: a digest that is none, or this upload is under way: a call that broke off may still write what
                it had taken, and whoever went on at an offset told before that would be at the wrong one.
        """
        key = _key(owner, digest)
        with self._lock:
            self._check_idle(key)
            try:
                return (self._root / key / ARCHIVE).stat().st_size
            except FileNotFoundError:
                return 0

    @contextlib.contextmanager
    def begin(self, owner: str, digest: str, size: int) -> Iterator[Upload]:
        """Begin an upload, or go on with one; what has arrived stays when the block ends before `Upload.finish`.

        Args:
            owner: who sends it.
            digest: SHA-256 of the whole, 64 hex digits.
            size: of the whole, in bytes.

        Raises:
            RequestError: a digest or size that is none, no room, too many uploads, or this one is under way.
        """
        key = _key(owner, digest)
        if not 0 < size <= limits.ARCHIVE_BYTES:
            raise _invalid(f"an archive of {size} bytes; it must be 1 to {limits.ARCHIVE_BYTES}")
        with self._lock:
            self._check_idle(key)
            self._sweep()
            folder = self._root / key
            self._check_room(folder, size)
            upload = self._active[key] = Upload(folder, digest, size)
        try:
            if upload.offset > size:
                had = upload.offset
                upload.discard()
                raise _invalid(f"{had} bytes have arrived of an archive announced with {size}; they are gone, send it")
            yield upload
        finally:
            with self._lock:
                upload.close()
                del self._active[key]

    def _check_idle(self, key: str) -> None:
        if key in self._active:
            raise RequestError(Code.FAILED_PRECONDITION, "this upload is under way in another call; end that first")

    def _check_room(self, folder: Path, size: int) -> None:
        known = [path.name for path in self._root.iterdir()]
        mine = sum(name[:_OWNER] == folder.name[:_OWNER] for name in known)
        if folder.name not in known and (len(known) >= MOST or mine >= OF_ONE_CALLER):
            whose = f"{len(known)} uploads" if len(known) >= MOST else f"{mine} uploads of this caller"
            raise RequestError(Code.RESOURCE_EXHAUSTED, f"{whose} are unfinished already; end some or wait a day")
        archive = folder / ARCHIVE
        here = archive.stat().st_size if archive.is_file() else 0
        # Every archive is there twice for a moment: as it came, and as its files in the store.
        wanted = 2 * size - here + sum(2 * item.size - item.offset for item in self._active.values())
        left = self._free(self._root) - RESERVE_BYTES
        if wanted > left:
            raise RequestError(
                Code.RESOURCE_EXHAUSTED,
                f"no room for this upload: {wanted:,} bytes are needed, {max(0, left):,} free; delete bundles first",
            )

    def _sweep(self) -> None:
        """Remove uploads that nobody went on with."""
        for folder in self._root.iterdir():
            if folder.name in self._active:
                continue
            archive = folder / ARCHIVE
            touched = (archive if archive.exists() else folder).stat().st_mtime
            if self._clock() - touched > AGE:
                shutil.rmtree(folder, ignore_errors=True)


def check_attestations(attestations: Sequence[bytes]) -> None:
    """Refuse more than the server is willing to hold. Raises `RequestError`."""
    total = sum(map(len, attestations))
    if len(attestations) > MAX_ATTESTATIONS or total > MAX_ATTESTATION_BYTES:
        raise _invalid(
            f"{len(attestations)} attestations of {total} bytes; at most {MAX_ATTESTATIONS} of "
            f"{MAX_ATTESTATION_BYTES} bytes together"
        )


def _key(owner: str, digest: str) -> str:
    if not _DIGEST.fullmatch(digest):
        raise _invalid("sha256 must be 64 lower-case hex digits")
    whose = hashlib.sha256(owner.encode()).hexdigest()[:_OWNER]
    return whose + hashlib.sha256(f"{owner}\n{digest}".encode()).hexdigest()[_OWNER:]


def _free(path: Path) -> int:
    facts = os.statvfs(path)
    return facts.f_bavail * facts.f_frsize


def _invalid(message: str) -> KedgeError:
    return RequestError(Code.INVALID_ARGUMENT, message)
