"""A server of several processes is measured and ended as one."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.peers import tree

WAIT_SECONDS = 20.0


def test_cpu_and_memory_are_summed_over_descendants_and_orphans_are_ended(monkeypatch):
    monkeypatch.setattr(tree, "GRACE_SECONDS", 0.2)
    busy = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done"
    served = tree.Tree(["sh", "-c", f"sh -c '{busy}; exec sleep 60' & echo $!; exec cat"])
    child = int(served.ready)
    own = Path(f"/proc/{served.pid}/status")
    try:
        assert tree.family(served.pid) == [served.pid, child]
        await_true(lambda: Path(f"/proc/{child}/comm").read_text().strip() == "sleep")
        assert served.cpu_seconds() > time.clock_gettime((~served.pid << 3) | 2)
        peak = next(int(line.split()[1]) for line in own.read_text().splitlines() if line.startswith("VmHWM:"))
        assert served.peak_bytes() > peak * 1024
    finally:
        served.stop()
    await_true(lambda: ended(child))


def ended(pid: int) -> bool:
    """Gone, or waiting to be reaped, which nobody but init would do."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def await_true(holds):
    end = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)
