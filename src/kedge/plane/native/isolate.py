"""Load a bundle in a child process first: what crashes, hangs or eats all memory there never reaches the server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from kedge.errors import ModelLoadError
from kedge.plane.text import one_line

if TYPE_CHECKING:
    from pathlib import Path

    from kedge.plane.contract import LoadOptions

WALL_SECONDS: Final = 600.0
"""A load that takes longer is taken for one that never ends."""


def probe(directory: Path, options: LoadOptions) -> None:
    """Load the bundle, warm it up and replay its golden rows, in a child process with limits of its own.

    Raises:
        ModelLoadError: it was refused there, crashed, or did not end.
    """
    flags = [name for name, wanted in (("golden", options.golden), ("warm-up", options.warm_up)) if wanted]
    command = [sys.executable, "-m", "kedge.plane.native.probe", str(directory), *flags]
    # The child must find the very packages this process uses, however it came by them.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    try:
        done = subprocess.run(  # noqa: S603  our own interpreter and module
            command,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=WALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ModelLoadError(f"'{directory.name}' did not load within {WALL_SECONDS:.0f} seconds") from None
    if done.returncode == 0:
        return
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise ModelLoadError(f"'{directory.name}' ends the process that loads it ({name}); it is not loaded here")
    said = done.stderr.strip().splitlines()
    raise ModelLoadError(one_line(said[-1]) if said else f"'{directory.name}' cannot be loaded")
