"""The demo runs Kedge as its user would: by its own command line, in processes of their own."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kedge.errors import Code, KedgeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

STOP_SECONDS = 30.0


class DemoError(KedgeError):
    """A step of the demo failed."""

    code = Code.FAILED_PRECONDITION


@dataclass(frozen=True)
class Server:
    """A server under way: the addresses it bound, and what its ready line said."""

    grpc: str
    admin: str
    ready: dict[str, Any]


def kedge(arguments: Sequence[str], *, allowed: Sequence[int] = (0,), show: bool = False) -> str:
    """Run ``kedge ARGUMENTS``.

    Args:
        arguments: the command and its options.
        allowed: exit statuses that are not failures.
        show: let the command write to this process's standard output, colours and all.

    Returns:
        What it wrote to standard output; empty with `show`.

    Raises:
        DemoError: it ended with another status; the message has its last line.
    """
    done = subprocess.run(  # noqa: S603 - this interpreter, this package
        [sys.executable, "-m", "kedge", *arguments],
        check=False,
        stdout=None if show else subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    if done.returncode not in allowed:
        detail = (done.stderr.strip() or (done.stdout or "").strip()).splitlines()
        raise DemoError(
            f"`kedge {' '.join(arguments)}` failed: {detail[-1] if detail else f'status {done.returncode}'}"
        )
    return done.stdout or ""


@contextlib.contextmanager
def serving(arguments: Sequence[str], log: Path) -> Iterator[Server]:
    """Run ``kedge serve ARGUMENTS`` until the block ends, then stop it by SIGTERM. Its log goes to the file `log`."""
    with log.open("w") as errors:
        process = subprocess.Popen(  # noqa: S603 - this interpreter, this package
            [sys.executable, "-m", "kedge", "serve", *arguments, "--json"],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            yield _wait_until_ready(process, log)
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            assert process.stdout is not None  # noqa: S101 - Popen was given a pipe
            process.stdout.close()


def _wait_until_ready(process: subprocess.Popen[str], log: Path) -> Server:
    assert process.stdout is not None  # noqa: S101 - Popen was given a pipe
    for line in process.stdout:
        with contextlib.suppress(json.JSONDecodeError):
            event = json.loads(line)
            if event.get("event") == "ready":
                return Server(event["grpc"], event["admin"], event)
            if "error" in event:
                raise DemoError(f"the server did not start: {event['error']['message']}")
    raise DemoError(f"the server did not start; its log is {log}")
