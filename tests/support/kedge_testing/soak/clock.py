"""A clock that the soak can set for the server alone: a library of our own, loaded before all others."""

from __future__ import annotations

import mmap
import struct
import subprocess
import time
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).with_name("clock.c")


class Clock:
    """The real-time clock of servers started with its `environment`.

    Args:
        root: where the library and the shift are kept.
    """

    def __init__(self, root: Path) -> None:
        library, self._file = root / "clock.so", root / "clock"
        subprocess.run(
            ["cc", "-O2", "-shared", "-fPIC", "-w", "-o", str(library), str(SOURCE), "-ldl"], check=True, timeout=60
        )
        self._file.write_bytes(bytes(8))
        with self._file.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), 8)
        self.environment = {"LD_PRELOAD": str(library), "SOAK_CLOCK": str(self._file)}

    @property
    def shift(self) -> float:
        """Seconds that the server's clock is ahead of ours."""
        return float(struct.unpack("<q", self._shared[:8])[0] / 1e9)

    def set(self, shift: float) -> None:
        """Let it jump there."""
        self._shared[:8] = struct.pack("<q", round(shift * 1e9))

    def now(self) -> float:
        """What the server reads."""
        return time.time() + self.shift
