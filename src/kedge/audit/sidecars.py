"""Attestations lie beside what they are about: evidence accumulates, and the bundle's identity stays."""

from __future__ import annotations

import contextlib
import glob
import os
import secrets
from typing import TYPE_CHECKING, Final, Literal

from kedge.audit.dsse import MAX_ENVELOPE_BYTES
from kedge.audit.errors import AuditError, SignatureError
from kedge.audit.keys import sync

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kedge.audit.dsse import Envelope
    from kedge.audit.roles import Role

SUFFIX: Final = ".dsse.json"
MAX_SIDECARS: Final = 32
"""Of one bundle: each costs a signature check a key."""


def beside(archive: Path) -> tuple[tuple[str, bytes], ...]:
    """Names and bytes of the attestations beside an archive: ``ARCHIVE.*.dsse.json``. Raises `SignatureError`."""
    return _read(archive.parent, f"{glob.escape(archive.name)}.*{SUFFIX}")


def stored(bundle: Path) -> tuple[tuple[str, bytes], ...]:
    """Names and bytes of the attestations of a bundle in the store: ``<id>.att/*.dsse.json``. Raises `SignatureError`.

    Args:
        bundle: its directory, ``sha256/<id>``.
    """
    return _read(folder(bundle), f"*{SUFFIX}")


def folder(bundle: Path) -> Path:
    """Where the attestations of a bundle in the store lie."""
    return bundle.with_name(f"{bundle.name}.att")


def keep(directory: Path, prefix: str, role: Role | Literal["provenance"], envelope: Envelope) -> Path:
    """Write an attestation durably; one of the same role and key takes the place of the one before.

    Args:
        directory: made (0700) if missing.
        prefix: what its name begins with, such as the archive's name and a dot.
        role: that it is signed in, or ``provenance``.
        envelope: with one signature.

    Raises:
        AuditError: it cannot be written.
    """
    path = directory / f"{prefix}{role}-{envelope.signatures[0][0][:12]}{SUFFIX}"
    _write(path, envelope.to_bytes())
    return path


def coming(archive: Path, bundle: Path, wanted: Callable[[bytes], bool]) -> dict[str, bytes]:
    """What would come from beside an archive to its bundle in the store, by name there.

    Args:
        archive: as it is to be added.
        bundle: its directory in the store, ``sha256/<id>``; it need not be there yet.
        wanted: whether the bytes of an attestation are worth keeping.

    Raises:
        SignatureError: there would be too many, or one cannot be read.
    """
    found = {name.removeprefix(f"{archive.name}."): data for name, data in beside(archive) if wanted(data)}
    there = {name for name, _ in stored(bundle)}
    if len(there | found.keys()) > MAX_SIDECARS:
        raise SignatureError(
            f"{len(there)} attestations of bundle {bundle.name[:12]} are kept already, {len(found)} more would be over "
            f"the limit of {MAX_SIDECARS}"
        )
    return found


def adopt(found: dict[str, bytes], bundle: Path) -> None:
    """Write what `coming` found beside its bundle in the store; a copy of the same name is replaced.

    Raises:
        AuditError: they cannot be written.
    """
    for name, data in found.items():
        _write(folder(bundle) / name, data)


def _write(path: Path, data: bytes) -> None:
    # A name that nobody can guess, made anew: beside an archive others may write, and a link could wait under another.
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with partial.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync(path.parent)
    except OSError as error:
        raise AuditError(f"cannot write '{path}': {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):  # what was raised above says more
            partial.unlink()


def _read(directory: Path, pattern: str) -> tuple[tuple[str, bytes], ...]:
    paths = sorted(path for path in directory.glob(pattern) if not path.name.startswith("."))
    if len(paths) > MAX_SIDECARS:
        raise SignatureError(f"'{directory}': {len(paths)} attestations of one bundle, limit {MAX_SIDECARS}")
    found = []
    for path in paths:
        try:
            # O_NONBLOCK: opening a FIFO must not wait for its writer.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as file:
                found.append((path.name, file.read(MAX_ENVELOPE_BYTES + 1)))
        except OSError as error:
            raise SignatureError(f"cannot read '{path}': {error.strerror}") from error
    return tuple(found)
