"""Load a bundle in a child process first: what crashes, hangs or eats all memory there never reaches the server."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from typing import IO, TYPE_CHECKING, Final, cast

from kedge.errors import ModelLoadError
from kedge.plane.text import one_line

if TYPE_CHECKING:
    from pathlib import Path

    from kedge.plane.contract import LoadOptions

WALL_SECONDS: Final = 600.0
"""A load that takes longer is taken for one that never ends."""
SAID_BYTES: Final = 64 * 1024
"""Of what the child writes to stderr, the last that are kept: the reason is the last line."""

INHERITED: Final = frozenset(
    {"PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "LD_PRELOAD", "PYTHONHOME",
     "ORT_DISABLE_TELEMETRY"}
)  # fmt: skip
"""Variables that the child sees: others may hold tokens of the server's."""


def probe(directory: Path, options: LoadOptions) -> None:
    """Load the bundle, warm it up and replay its golden rows, in a child process with limits of its own.

    Raises:
        ModelLoadError: it was refused there, crashed, or did not end.
    """
    flags = [name for name, wanted in (("golden", options.golden), ("warm-up", options.warm_up)) if wanted]
    # -P: the directory that this process was started in is no place to import from.
    command = [sys.executable, "-P", "-m", "kedge.plane.native.probe", str(directory), *flags]
    # The child must find the very packages this process uses, however it came by them.
    environment = {name: value for name, value in os.environ.items() if name in INHERITED}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    # S603: our own interpreter and module
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as child:  # noqa: S603
        try:
            status, said = _ended(child)
        except subprocess.TimeoutExpired:
            raise ModelLoadError(f"'{directory.name}' did not load within {WALL_SECONDS:.0f} seconds") from None
        finally:
            child.kill()
    if status == 0:
        return
    if status < 0:
        name = _signal(-status)
        raise ModelLoadError(f"'{directory.name}' ends the process that loads it ({name}); it is not loaded here")
    lines = said.decode(errors="replace").strip().splitlines()
    raise ModelLoadError(one_line(lines[-1]) if lines else f"'{directory.name}' cannot be loaded")


def _ended(child: subprocess.Popen[bytes]) -> tuple[int, bytes]:
    """Status of the child, and the end of what it wrote to stderr, however much that is.

    Raises:
        TimeoutExpired: it has not ended in time.
    """
    stderr = cast("IO[bytes]", child.stderr)
    end = time.monotonic() + WALL_SECONDS
    said = b""
    poll = select.poll()
    poll.register(stderr, select.POLLIN)
    while (left := end - time.monotonic()) > 0 and poll.poll(left * 1000):
        if not (data := os.read(stderr.fileno(), SAID_BYTES)):
            break
        said = (said + data)[-SAID_BYTES:]
    return child.wait(max(0.0, end - time.monotonic())), said


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name
        return f"signal {number}"
