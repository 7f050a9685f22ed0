"""Heaps of the C library: shared before a server begins, unless the environment says otherwise."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

UP_TO_SERVING = """
import sys, threading
from kedge.cli import arenas, main, serve
limit, said = arenas.limit, []
arenas.limit = lambda: said.append((limit(), threading.active_count()))
serve._run = lambda *_, **__: print("serves:", *said)
sys.argv[:] = ["kedge", "serve", "--state", sys.argv[1]]
main()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="heaps of another C library are not shared")
@pytest.mark.parametrize(("variable", "shared"), [({}, True), ({"MALLOC_ARENA_MAX": "2"}, False)])
def test_a_server_shares_its_heaps_before_it_has_threads(
    tmp_path: Path, variable: dict[str, str], *, shared: bool
) -> None:
    """A heap that a thread has by then would stay its own."""
    kept = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    done = subprocess.run(
        [sys.executable, "-c", UP_TO_SERVING, str(tmp_path / "state")],
        env={**kept, **variable}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.stdout == f"serves: ({shared}, 1)\n", done.stderr
