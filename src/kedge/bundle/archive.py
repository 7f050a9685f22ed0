"""The archive: a deterministic ustar file with bundle.json first, written and read strictly.

The owner name in bundle.json's header is the beginning of its SHA-256. A damaged byte anywhere else contradicts a
digest in bundle.json; a damaged byte inside bundle.json itself contradicts this one, instead of quietly making another
bundle.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import secrets
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Final

from pydantic import ValidationError

from kedge.bundle import canonical, limits, ustar
from kedge.bundle.manifest import FileEntry, Manifest
from kedge.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MANIFEST: Final = "bundle.json"


def owner(digest: str) -> str:
    """The owner name of bundle.json's header: what the field holds of its SHA-256."""
    return digest[:31]


def parse_manifest(data: bytes) -> Manifest:
    """bundle.json from its bytes: strict JSON, canonical form, known fields, files sorted and distinct.

    Raises:
        BundleError: saying which of these it is not.
    """
    value = canonical.decode_canonical(data, MANIFEST, limit=limits.MANIFEST_BYTES)
    try:
        manifest = Manifest.model_validate(value)
    except ValidationError as error:
        raise BundleError(f"{MANIFEST}: {first_error(error)}") from error
    paths = [entry.path for entry in manifest.files]
    for before, after in itertools.pairwise(paths):
        if before == after:
            raise BundleError(f"{MANIFEST}: file '{after}' is listed twice")
        if before > after:
            raise BundleError(f"{MANIFEST}: files are not sorted by path ('{after}' after '{before}')")
    return manifest


def first_error(error: ValidationError) -> str:
    """The first of pydantic's complaints, as ``field.path: reason``."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])[:200]
    message = f"{where}: {first['msg']}" if where else first["msg"]
    return message if message.isprintable() else ascii(message)  # a location may be a key of the file's choosing


def write(directory: Path, out: Path) -> str:
    """Pack a directory whose bundle.json is complete into one deterministic archive.

    Args:
        directory: the files that bundle.json lists, and nothing else.
        out: the archive; replaced as a whole once everything is written and synced.

    Returns:
        The bundle id.

    Raises:
        BundleError: a file is missing, not listed, or not as listed, or `out` cannot be written; nothing was left
            there.
    """
    data = _read_manifest(directory)
    manifest = parse_manifest(data)
    identity = hashlib.sha256(data).hexdigest()
    check_closed(directory, manifest)
    if out.is_dir():  # '.' and '/' have no name to put beside either
        raise BundleError(f"cannot write '{out}': is a directory; name the archive to write")
    partial = out.with_name(f".{out.name}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("xb") as target:
            target.write(ustar.header(MANIFEST, len(data), owner(identity)) + data + bytes(ustar.padding(len(data))))
            for entry in manifest.files:
                _copy(directory / entry.path, entry, target)
            target.write(ustar.END)
            target.flush()
            os.fsync(target.fileno())
        partial.replace(out)
    except OSError as error:
        raise BundleError(f"cannot write '{out}': {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
    return identity


def check_closed(directory: Path, manifest: Manifest) -> None:
    """Check that a directory holds no file that bundle.json does not list.

    Raises:
        BundleError: naming the first one that does.
    """
    found = (path for path in directory.rglob("*") if path.is_symlink() or not path.is_dir())
    listed = {MANIFEST, *(entry.path for entry in manifest.files)}
    extra = sorted({path.relative_to(directory).as_posix() for path in found} - listed)
    if extra:
        raise BundleError(f"'{extra[0]}' is not listed in {MANIFEST}")


def _read_manifest(directory: Path) -> bytes:
    try:
        with (directory / MANIFEST).open("rb") as file:
            return file.read(limits.MANIFEST_BYTES + 1)
    except OSError as error:
        raise BundleError(f"cannot read '{directory / MANIFEST}': {error.strerror}") from error


def _copy(source: Path, entry: FileEntry, target: BinaryIO) -> None:
    digest = hashlib.sha256()
    size = 0
    try:
        with source.open("rb") as file:
            target.write(ustar.header(entry.path, entry.size))
            while chunk := file.read(limits.COPY_BYTES):
                digest.update(chunk)
                size += len(chunk)
                target.write(chunk)
    except FileNotFoundError as error:
        raise BundleError(f"{entry.path} is listed in {MANIFEST} and missing") from error
    if size != entry.size or digest.hexdigest() != entry.sha256:
        raise BundleError(f"{entry.path}: size or SHA-256 differs from {MANIFEST}")
    target.write(bytes(ustar.padding(size)))


@contextmanager
def opened(path: Path) -> Iterator[Reader]:
    """Open an archive for strict reading.

    Raises:
        BundleError: it cannot be read, is not a regular file, or exceeds the size cap.
    """
    try:
        # O_NONBLOCK: opening a FIFO must not wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise BundleError(f"cannot read '{path}': {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise BundleError(f"'{path}' is not a file")
        if status.st_size > limits.ARCHIVE_BYTES:
            raise BundleError(f"archive of {status.st_size} bytes, limit {limits.ARCHIVE_BYTES}")
        with os.fdopen(descriptor, "rb", buffering=0, closefd=False) as file:
            yield Reader(file, status.st_size)
    finally:
        os.close(descriptor)


class Reader:
    """Reads one archive front to back, in the order bundle.json gives.

    Args:
        file: unbuffered, positioned at the start.
        size: of the whole archive, in bytes.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size

    def manifest(self) -> bytes:
        """The bytes of bundle.json, the first member; nothing after it has been read.

        Raises:
            BundleError: the archive does not begin as one written by Kedge, or these bytes are damaged.
        """
        if self._size < ustar.BLOCK:
            raise BundleError(f"header of {MANIFEST}: not a bundle archive (too short for one)")
        block = self._take(ustar.BLOCK, f"header of {MANIFEST}")
        if block[257:265] != ustar.MAGIC:
            raise BundleError(f"header of {MANIFEST}: not a bundle archive (no ustar header)")
        size = ustar.declared_size(block)
        if size is None or size > limits.MANIFEST_BYTES:
            raise BundleError(f"header of {MANIFEST}: size is not a number up to {limits.MANIFEST_BYTES}")
        stated = block[265:296].rstrip(b"\0").decode("ascii", "replace")
        if reason := ustar.fault(block, MANIFEST, size, stated if stated.isascii() else ""):
            raise BundleError(reason)
        data = self._take(size, MANIFEST)
        if owner(hashlib.sha256(data).hexdigest()) != stated:
            raise BundleError(f"{MANIFEST}: damaged (its SHA-256 is not the one in its header)")
        self._zeros(size, MANIFEST)
        return data

    def check_size(self, manifest: Manifest, manifest_size: int) -> None:
        """Compare the archive's size with what bundle.json accounts for, before anything is written.

        Raises:
            BundleError: bytes are missing or trail.
        """
        due = ustar.span(manifest_size) + sum(ustar.span(entry.size) for entry in manifest.files) + len(ustar.END)
        if self._size > due:
            raise BundleError(f"{self._size - due} bytes more than {MANIFEST} accounts for (extra or trailing members)")
        if self._size < due:
            raise BundleError(f"{due - self._size} bytes fewer than {MANIFEST} accounts for (missing or cut members)")

    def member(self, entry: FileEntry) -> Iterator[bytes]:
        """The content of the next member, in pieces; its size, digest and padding are checked by the end.

        Raises:
            BundleError: naming the member.
        """
        block = self._take(ustar.BLOCK, f"header of {entry.path}")
        if reason := ustar.fault(block, entry.path, entry.size):
            raise BundleError(reason)
        digest = hashlib.sha256()
        left = entry.size
        while left:
            chunk = self._take(min(left, limits.COPY_BYTES), entry.path)
            digest.update(chunk)
            left -= len(chunk)
            yield chunk
        if digest.hexdigest() != entry.sha256:
            raise BundleError(f"{entry.path}: its SHA-256 is not the one in {MANIFEST}")
        self._zeros(entry.size, entry.path)

    def end(self) -> None:
        """Check that the archive ends here.

        Raises:
            BundleError: the end is damaged, or something follows.
        """
        if self._take(len(ustar.END), "end of archive") != ustar.END:
            raise BundleError("end of archive: not two blocks of zeros")
        if self._file.read(1):
            raise BundleError("end of archive: trailing data")

    def _zeros(self, size: int, name: str) -> None:
        if any(self._take(ustar.padding(size), f"padding after {name}")):
            raise BundleError(f"padding after {name}: not zeros")

    def _take(self, size: int, what: str) -> bytes:
        parts: list[bytes] = []
        left = size
        while left:
            part = self._file.read(left)
            if not part:
                raise BundleError(f"{what}: the archive ends here")
            parts.append(part)
            left -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)
