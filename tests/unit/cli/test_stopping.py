"""Signals that ask for an end are heard wherever they find the main thread."""

from __future__ import annotations

import signal
import subprocess
import sys

EVERY_LINE = """
import signal, sys
from kedge.cli.stopping import Stopping

def interrupt(at):
    seen = 0
    def trace(frame, event, _):
        nonlocal seen
        if event == "line":
            seen += 1
            if seen == at:
                sys.settrace(None)
                signal.raise_signal(signal.SIGTERM)
        return trace
    with Stopping() as stopping:
        sys.settrace(trace)
        if at == 0:
            signal.raise_signal(signal.SIGTERM)
        assert stopping.wait() == signal.SIGTERM
        sys.settrace(None)
    return seen

interrupt(0)
for line in range(1, 1 + interrupt(1)):
    interrupt(line)
"""
"""Raises the signal before each line of Python that a wait runs: a lock held there would never be free again."""


def test_a_signal_at_any_line_of_the_wait_is_heard() -> None:
    done = subprocess.run(
        [sys.executable, "-c", EVERY_LINE], check=False, timeout=60, stderr=subprocess.PIPE, text=True
    )
    assert done.returncode == 0, done.stderr


def test_handlers_are_put_back() -> None:
    from kedge.cli.stopping import Stopping

    before = signal.getsignal(signal.SIGTERM)
    with Stopping():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
