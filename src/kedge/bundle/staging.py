"""A private directory that is filled from an archive, its files opened relative to its own descriptors."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kedge.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Staging:
    """Writes new files into an existing private directory (0700).

    Args:
        directory: exists, and is its caller's alone.

    Raises:
        BundleError: the file system refuses (no space, name taken); what was written is the caller's to remove.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._root = os.open(directory, _DIRECTORY)
        self._folders: dict[str, int] = {}

    def __enter__(self) -> Staging:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for descriptor in (*self._folders.values(), self._root):
            os.close(descriptor)

    def write(self, path: str, chunks: Iterable[bytes]) -> None:
        """Create `path`, one file name with at most one folder before it."""
        folder, _, name = path.rpartition("/")
        try:
            descriptor = os.open(name, _CREATE, 0o600, dir_fd=self._folder(folder))
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                for chunk in chunks:
                    view = memoryview(chunk)
                    while view:
                        view = view[file.write(view) :]
        except OSError as error:
            raise BundleError(f"{path}: cannot be written to '{self.directory}': {error.strerror}") from error

    def _folder(self, name: str) -> int:
        if not name:
            return self._root
        if name not in self._folders:
            os.mkdir(name, 0o700, dir_fd=self._root)
            self._folders[name] = os.open(name, _DIRECTORY, dir_fd=self._root)
        return self._folders[name]


def sync(directory: Path) -> None:
    """Make every file and name below `directory` durable.

    Raises:
        OSError: the disk refused; what is there must not be relied on.
    """
    for path in (*directory.rglob("*"), directory):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
