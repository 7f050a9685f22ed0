"""Opening an archive from a stranger: nothing is trusted before it was checked, nothing written outside staging."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kedge.bundle import archive, consistency, limits, onnx_check
from kedge.bundle.contents import MODEL, PIPELINE, Bundle, check_roles
from kedge.bundle.staging import Staging
from kedge.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kedge.bundle.manifest import FileEntry


def extract(path: Path, staging: Path, advance: Callable[[int], None] | None = None) -> Bundle:
    """Open an archive into `staging`, check everything that can be checked without running the model.

    In this order: size cap; bundle.json alone; the archive's size against it; every member in its order, hashed as it
    is written; the end; then, from the private copy, JSON files, ONNX graph, and all of them against each other.

    Args:
        path: the archive.
        staging: an empty private directory; on failure what is in it must be discarded.
        advance: told the bytes of the archive that were dealt with, as they are.

    Raises:
        BundleError: naming the member and what is wrong with it.
    """
    with archive.opened(path) as reader, Staging(staging) as target:
        receive(reader, lambda name, chunks: target.write(name, _told(chunks, advance)))
    bundle = Bundle.read(staging)
    check(bundle)
    return bundle


def receive(reader: archive.Reader, write: Callable[[str, Iterable[bytes]], None]) -> None:
    """Take an archive apart front to back; nothing is written before bundle.json and the archive's size are in order.

    Args:
        reader: at the start of the archive.
        write: given each file's path and content; it must consume the content, whose end is where damage shows.

    Raises:
        BundleError: naming the member and what is wrong with it.
    """
    data = reader.manifest()
    manifest = archive.parse_manifest(data)
    check_roles(manifest)
    reader.check_size(manifest, len(data))
    write(archive.MANIFEST, (data,))
    for entry in manifest.files:
        write(entry.path, reader.member(entry))
    reader.end()


@contextmanager
def opened(path: Path, advance: Callable[[int], None] | None = None) -> Iterator[Bundle]:
    """An archive opened into a temporary directory (of ``TMPDIR``), which is removed afterwards.

    Args:
        path: the archive.
        advance: as in `extract`.

    Raises:
        BundleError: as `extract`.
    """
    staging = Path(tempfile.mkdtemp(prefix="kedge-open-"))  # mkdtemp makes it 0700
    try:
        yield extract(path, staging, advance)
    finally:
        shutil.rmtree(staging)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the archive's name before the reason why it is refused, for callers that deal with several."""
    try:
        yield
    except BundleError as error:
        raise type(error)(f"{path.name or path}: {error}") from error


def check(bundle: Bundle) -> None:
    """Check an extracted bundle's files against each other, and its model without running it.

    Raises:
        BundleError: naming the file and what contradicts what.
    """
    consistency.check(bundle)
    external = {entry.path: entry.size for entry in bundle.manifest.files if entry.role == "external-data"}
    onnx_check.check_model(bundle.model_path, MODEL, bundle.manifest.inputs, bundle.manifest.outputs, external)
    if any(entry.path == PIPELINE for entry in bundle.manifest.files):
        onnx_check.check_graph(bundle.directory / PIPELINE, PIPELINE)


def check_digests(bundle: Bundle) -> None:
    """Read every file of an extracted bundle again and compare it with bundle.json; the set of files must be closed.

    Raises:
        BundleError: a file is missing, extra, a link, or differs.
    """
    archive.check_closed(bundle.directory, bundle.manifest)
    for entry in bundle.manifest.files:
        _check_digest(bundle.directory / entry.path, entry)


def _told(chunks: Iterable[bytes], advance: Callable[[int], None] | None) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk
        if advance is not None:
            advance(len(chunk))


def _check_digest(path: Path, entry: FileEntry) -> None:
    digest = hashlib.sha256()
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise BundleError(f"{entry.path}: cannot be read: {error.strerror}") from error
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        if os.fstat(descriptor).st_size != entry.size:
            raise BundleError(f"{entry.path}: its size is not the one in {archive.MANIFEST}")
        while chunk := file.read(limits.COPY_BYTES):
            digest.update(chunk)
    if digest.hexdigest() != entry.sha256:
        raise BundleError(f"{entry.path}: its SHA-256 is not the one in {archive.MANIFEST}")
