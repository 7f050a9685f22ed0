"""A server of several processes, measured as one: its CPU and its memory are the sums over all of them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Final

from benchmarks.load.process import Process

GRACE_SECONDS: Final = 2.0


class Tree(Process):
    """A child with its descendants. What it leaves behind when it ends is killed by its id."""

    def cpu_seconds(self) -> float:
        # The clock of clock_getcpuclockid(3), for each: all threads, ended ones included.
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in family(self.pid))

    def peak_bytes(self) -> int:
        """The sum of their peaks. Pages that they share are counted in each."""
        return sum(_peak_bytes(pid) for pid in family(self.pid))

    def stop(self) -> None:
        # A descendant's id could be another's by the time it is killed, were it not for the time at which it started.
        born = {pid: _started(pid) for pid in family(self.pid)}
        super().stop()
        end = time.monotonic() + GRACE_SECONDS
        while (left := [pid for pid, when in born.items() if _started(pid) == when]) and time.monotonic() < end:
            time.sleep(0.05)
        for pid in left:
            os.kill(pid, signal.SIGKILL)


def family(pid: int) -> list[int]:
    """The process and all its descendants."""
    found = [pid]
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            found += family(int(child))
    return found


def _peak_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def _started(pid: int) -> str | None:
    """When it started, in ticks since boot; None for one that is no more, or waits to be reaped."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state == "Z" else rest[18]
