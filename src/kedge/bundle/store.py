"""The content-addressed store: one directory a bundle, named by its id, complete or absent.

::

    ROOT/sha256/<id>/      an extracted bundle; the index is the bundle.json files themselves
    ROOT/sha256/<id>.att/  attestations about it, which come and go without changing it; they are not read here
    ROOT/staging/<random>/ a bundle being added; locked by whoever fills it, swept once nobody does
    ROOT/lock              held for the moments in which names appear or vanish
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kedge.bundle import archive, limits, verify
from kedge.bundle.contents import Bundle
from kedge.bundle.staging import sync
from kedge.errors import BundleConflictError, BundleError, Code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kedge.bundle.manifest import Manifest

_ID: Final = re.compile(r"[0-9a-f]{64}")
_PREFIX: Final = re.compile(r"[0-9a-f]{8,64}")


class BundleNotFoundError(BundleError):
    """The store holds no such bundle."""

    code = Code.NOT_FOUND


@dataclass(frozen=True)
class Entry:
    """A bundle in the store.

    Attributes:
        id: bundle id.
        manifest: its bundle.json, which matches the id.
        directory: where its files stand.
    """

    id: str
    manifest: Manifest
    directory: Path

    @property
    def name(self) -> str:
        """Model name."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """Model version."""
        return self.manifest.version


class Store:
    """Bundles by id. Safe for several threads and processes; a crash at any point leaves a whole bundle or none.

    Args:
        root: made (0700) if missing. Staging directories that nobody fills any more are removed.

    Raises:
        BundleError: `root` cannot be made or written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._bundles = root / "sha256"
        self._staging = root / "staging"
        try:
            for directory in (root, self._bundles, self._staging):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            _sync(root)
            self._sweep()
        except OSError as error:
            raise BundleError(f"cannot use '{root}' as bundle store: {error.strerror}") from error

    def add(
        self,
        path: Path,
        advance: Callable[[int], None] | None = None,
        admit: Callable[[Bundle], object] | None = None,
    ) -> Bundle:
        """Verify an archive inside the store and keep it. Adding what is there already changes nothing.

        Args:
            path: the archive.
            advance: told the bytes that were dealt with, as they are.
            admit: given the verified bundle before it is kept; what it raises keeps the bundle out.

        Raises:
            BundleError: the archive is refused; the store is as before.
            BundleConflictError: its name and version exist with another id.
        """
        with verify.naming(path), self._private() as staging:
            bundle = verify.extract(path, staging, advance)
            if admit is not None:
                admit(bundle)
            sync(staging)
            target = self._bundles / bundle.id
            with self._locked():
                for entry in self.list():
                    if (entry.name, entry.version) == (bundle.name, bundle.version) and entry.id != bundle.id:
                        raise BundleConflictError(
                            f"{bundle.name} {bundle.version} is in the store as {entry.id[:12]}, "
                            f"this is {bundle.id[:12]}; give it another version"
                        )
                if not target.exists():
                    staging.rename(target)
                    _sync(self._bundles)
        return Bundle.read(target)

    def get(self, reference: str) -> Bundle:
        """A bundle by id, by an unambiguous prefix of at least 8 hex digits, or by ``NAME-VERSION``.

        Raises:
            BundleNotFoundError: there is none.
            BundleError: the prefix is ambiguous, or the bundle in the store is damaged.
        """
        entries = self.list()
        found = [entry for entry in entries if f"{entry.name}-{entry.version}" == reference]
        if _PREFIX.fullmatch(reference) and not found:
            found = [entry for entry in entries if entry.id.startswith(reference)]
        if not found and reference in self._ids():
            raise BundleError(f"bundle {reference} in the store is damaged; delete it and add its archive again")
        if not found:
            raise BundleNotFoundError(f"no bundle '{reference[:160]}' in the store")
        if len(found) > 1:
            raise BundleError(f"'{reference}' is ambiguous: {', '.join(entry.id[:16] for entry in found)}")
        return Bundle.read(found[0].directory)

    def find(self, name: str, version: str) -> Bundle | None:
        """The bundle of this name and version, or None."""
        for entry in self.list():
            if (entry.name, entry.version) == (name, version):
                return Bundle.read(entry.directory)
        return None

    def list(self) -> tuple[Entry, ...]:
        """Every whole bundle, by name, version and id. Those in `damaged` are left out."""
        entries = [entry for identity in self._ids() if (entry := self._entry(identity)) is not None]
        return tuple(sorted(entries, key=lambda entry: (entry.name, entry.version, entry.id)))

    def damaged(self) -> tuple[str, ...]:
        """Ids of bundles whose bundle.json no longer matches their id."""
        return tuple(identity for identity in self._ids() if self._entry(identity) is None)

    def delete(self, identity: str) -> None:
        """Remove a bundle, given its full id, and the attestations about it.

        Raises:
            BundleNotFoundError: there is none.
        """
        if identity not in self._ids():
            raise BundleNotFoundError(f"no bundle '{identity[:64]}' in the store")
        with self._private() as staging:
            with self._locked():
                # Out of sight in one step: a crash while removing leaves what the next start sweeps.
                (self._bundles / identity).rename(staging / identity)
                with suppress(FileNotFoundError):
                    (self._bundles / f"{identity}.att").rename(staging / f"{identity}.att")
                _sync(self._bundles)
            shutil.rmtree(staging)

    def verify_stored(self, identity: str) -> Bundle:
        """Read every file of a stored bundle again and check it as when it came, but for running the model.

        Raises:
            BundleNotFoundError: there is none.
            BundleError: naming the file that differs.
        """
        if identity not in self._ids():
            raise BundleNotFoundError(f"no bundle '{identity[:64]}' in the store")
        if self._entry(identity) is None:
            raise BundleError(f"{archive.MANIFEST}: its SHA-256 is not the id it is stored under")
        bundle = Bundle.read(self._bundles / identity)
        verify.check_digests(bundle)
        verify.check(bundle)
        return bundle

    def _ids(self) -> tuple[str, ...]:
        return tuple(sorted(path.name for path in self._bundles.iterdir() if _ID.fullmatch(path.name)))

    def _entry(self, identity: str) -> Entry | None:
        directory = self._bundles / identity
        try:
            with (directory / archive.MANIFEST).open("rb") as file:
                data = file.read(limits.MANIFEST_BYTES + 1)
            if hashlib.sha256(data).hexdigest() != identity:
                return None
            return Entry(identity, archive.parse_manifest(data), directory)
        except (OSError, BundleError):
            return None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def _private(self) -> Iterator[Path]:
        """A staging directory, locked so that no other process takes it for an orphan."""
        with self._locked():
            staging = Path(tempfile.mkdtemp(dir=self._staging))
            descriptor = os.open(staging, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            yield staging
        finally:
            if staging.exists():
                shutil.rmtree(staging)
            os.close(descriptor)

    def _sweep(self) -> None:
        with self._locked():
            for orphan in self._staging.iterdir():
                try:
                    descriptor = os.open(orphan, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
                except FileNotFoundError:
                    continue  # its owner has just removed it
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                else:
                    with suppress(FileNotFoundError):  # its owner removed it before the lock was free
                        shutil.rmtree(orphan)
                finally:
                    os.close(descriptor)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
