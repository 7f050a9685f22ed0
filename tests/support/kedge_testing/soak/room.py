"""A disk of the server's own that can be filled, and emptied again."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from pathlib import Path

SIZE: Final = 192 * 1024 * 1024
LEAST: Final = 4096


class Disk:
    """A small file system in memory under `root`, where the user may mount one; else the size of files is limited.

    A context manager.

    Attributes:
        directory: for the state.
        mounted: it is a file system of its own.
    """

    def __init__(self, root: Path) -> None:
        self.directory = root
        root.mkdir(mode=0o700)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "soak", str(root)]
        self.mounted = (
            bool(shutil.which("mount")) and not subprocess.run(mount, check=False, capture_output=True).returncode
        )
        self._filler = root / "filler"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.mounted:
            subprocess.run(["umount", "--lazy", str(self.directory)], check=True, capture_output=True)

    def fill(self, pid: int) -> None:
        """Leave no room for that process."""
        if not self.mounted:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (LEAST, resource.RLIM_INFINITY))
            return
        with self._filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(LEAST))
            except OSError:
                os.fsync(file.fileno())

    def empty(self, pid: int) -> None:
        """Room again."""
        if self.mounted:
            self._filler.unlink()
        else:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
