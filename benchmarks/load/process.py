"""A server under test as a process: started, measured through /proc, and ended by its own id."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

from benchmarks.report import BenchmarkError

ROOT: Final = Path(__file__).resolve().parents[2]
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 20.0


class StartError(BenchmarkError):
    """A server did not start; the last line it said."""


class Process:
    """A child that says on its standard output, by one line, that it is ready.

    Args:
        command: what to run, in the root of the repository.

    Raises:
        StartError: it ended, or said nothing for a minute.
    """

    def __init__(self, command: list[str], *, says_ready: bool = True) -> None:
        # What configures the reader's own Kedge must not reach the one that is measured.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("KEDGE_")}
        self._errors = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115 - lives as long as the process
        self._child = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment | {"ORT_DISABLE_TELEMETRY": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self.ready = self.read_line() if says_ready else ""

    @property
    def pid(self) -> int:
        return self._child.pid

    def ask(self, line: str) -> str:
        """Write a line to its standard input and return the line it answers."""
        assert self._child.stdin is not None
        self._child.stdin.write(line + "\n")
        self._child.stdin.flush()
        return self.read_line()

    def read_line(self) -> str:
        assert self._child.stdout is not None
        timer = threading.Timer(START_SECONDS, self._child.kill)
        timer.start()
        line = self._child.stdout.readline().strip()
        timer.cancel()
        if not line:
            self._child.wait()
            self._errors.seek(0)
            said = self._errors.read().strip().splitlines()
            raise StartError(said[-1] if said else f"it ended with status {self._child.returncode}")
        return line

    def cpu_seconds(self) -> float:
        """CPU time of all its threads, ended ones included: utime + stime of /proc/PID/stat, but to the nanosecond."""
        # What clock_getcpuclockid(3) returns for a process; Python has it for threads only.
        return time.clock_gettime((~self.pid << 3) | 2)

    def peak_bytes(self) -> int:
        """The most memory it has had resident."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise StartError(f"process {self.pid} has ended")

    def stop(self) -> None:
        """End it: by the end of its input, by SIGTERM, and if it will not, by SIGKILL."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.close()
        self._child.terminate()
        try:
            self._child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child.stdout.close()
        self._errors.close()


class BareLoop(Process):
    """ONNX Runtime in a process of its own, on one row, with nothing around it."""

    def __init__(self, model: Path) -> None:
        super().__init__(python("benchmarks.load.bare_loop", str(model)))

    def rate(self, seconds: float) -> float:
        """Runs a second, measured for about so long."""
        probe = 10
        while (took := float(self.ask(f"{probe}"))) < seconds / 10:
            probe *= 2
        runs = max(probe, int(probe / took * seconds))
        return runs / float(self.ask(f"{runs}"))


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module with this interpreter."""
    return [sys.executable, "-m", module, *arguments]
