"""A virtual environment for each peer, so that nobody's pins are another's.

They are made once, by pip, in build/bench/peers (or the directory that KEDGE_BENCH_PEERS names), from the pinned
versions in requirements/, and made again when those change. All together they take about 3 GB.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from benchmarks.load.process import ROOT
from benchmarks.report import BenchmarkError

VARIABLE: Final = "KEDGE_BENCH_PEERS"
REQUIREMENTS: Final = Path(__file__).parent / "requirements"
INSTALLED: Final = "installed.txt"
INSTALL_SECONDS: Final = 900


class InstallError(BenchmarkError):
    """A peer's environment could not be made; what pip said last."""


def python(name: str) -> str:
    """The interpreter of the environment `name`, which is made if it is not there.

    Raises:
        InstallError: pip could not install what requirements/`name`.txt asks for.
    """
    wanted = (REQUIREMENTS / f"{name}.txt").read_text()
    directory = Path(os.environ.get(VARIABLE) or ROOT / "build/bench/peers") / name
    interpreter, installed = directory / "bin/python", directory / INSTALLED
    if installed.exists() and installed.read_text() == wanted:
        return str(interpreter)
    print(f"installing {name} into {directory}", file=sys.stderr, flush=True)
    shutil.rmtree(directory, ignore_errors=True)
    pip = [str(interpreter), "-m", "pip", "install", "--quiet", "--no-cache-dir", "--no-deps"]
    for command in (
        [sys.executable, "-m", "venv", str(directory)],
        [*pip, "--requirement", str(REQUIREMENTS / f"{name}.txt")],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS)
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise InstallError(f"{name}: {said[-1] if said else f'status {done.returncode}'}")
    installed.write_text(wanted)
    return str(interpreter)


def version(name: str, package: str) -> str:
    """Which version of a package the environment has by its requirements."""
    lines = (REQUIREMENTS / f"{name}.txt").read_text().splitlines()
    return next(line.partition("==")[2] for line in lines if line.startswith(f"{package}=="))
