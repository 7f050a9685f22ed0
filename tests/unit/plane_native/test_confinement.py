"""The process that tries a model: what it inherits, and what it may no longer do."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from kedge.errors import ModelLoadError
from kedge.plane.contract import LoadOptions
from kedge.plane.native import confine, isolate

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import json, os, resource, signal, socket, subprocess, sys
from pathlib import Path
from kedge.plane.native import probe
from kedge.plane.native.confine import confine

probe.limit(Path(sys.argv[1]))
found = {}

def attempt(name, do):
    try:
        do()
    except OSError as error:
        found[name] = type(error).__name__
    else:
        found[name] = "done"

attempt("read", lambda: Path(sys.argv[1], "there").read_bytes())
attempt("write", lambda: Path(sys.argv[1], "there").open("r+b"))
attempt("create", lambda: Path(sys.argv[1], "new").touch())
attempt("remove", lambda: Path(sys.argv[1], "there").unlink())
attempt("connect", lambda: socket.create_connection(("127.0.0.1", int(sys.argv[2])), 5))
attempt("listen", lambda: socket.create_server(("127.0.0.1", 0)))
attempt("run", lambda: subprocess.run(["/bin/true"], check=True))
attempt("signal", lambda: os.kill(os.getppid(), 0))
names = ("CORE", "FSIZE", "NOFILE", "CPU")
limits = {name: resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[0] for name in names}
lines = Path("/proc/self/status").read_text().splitlines()
new = next(line.split()[1] for line in lines if line.startswith("NoNewPrivs"))
print(json.dumps({"found": found, "limits": limits, "new": new, "mask": os.umask(0), "landlock": confine()}))
"""


def test_a_load_may_read_and_compute_and_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("kedge._dataplane", reason="the native plane is not in this build")
    (tmp_path / "there").write_bytes(b"weights")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(tmp_path), str(listener.getsockname()[1])],
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
    said = json.loads(done.stdout)
    assert said["limits"] == {"CORE": 0, "FSIZE": 0, "NOFILE": 1024, "CPU": 600}
    assert (said["new"], said["mask"]) == ("1", 0o077)
    assert said["found"]["read"] == "done"
    version = said["landlock"]
    if version < 6:
        pytest.skip(f"the kernel has Landlock {version}; 6 denies all of it")
    assert {name for name, came in said["found"].items() if came == "done"} == {"read"}
    assert (tmp_path / "there").read_bytes() == b"weights"
    assert not (tmp_path / "new").exists()


def test_a_load_sees_no_variable_that_may_hold_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "told"
    program = tmp_path / "python"
    program.write_text(f'#!/bin/sh\nenv > {told}\necho "$@" >> {told}\n')
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setenv("KEDGE_ADMIN_TOKEN", "kedge_secret")
    monkeypatch.setenv("PAGER_TOKEN", "secret")
    isolate.probe(tmp_path, LoadOptions())
    lines = told.read_text().splitlines()
    names = {line.partition("=")[0] for line in lines if "=" in line}
    assert names <= isolate.INHERITED | {"PYTHONPATH", "PWD", "SHLVL", "_", "OLDPWD"}
    assert "secret" not in told.read_text()
    assert lines[-1].startswith("-P -m kedge.plane.native.probe"), "the current directory is no place to import from"


@pytest.mark.parametrize(
    ("script", "seconds", "words"),
    [
        ("yes 'many words' | head -c 3000000 >&2; echo >&2; echo 'the last line' >&2; exit 1", 60.0, "^the last line$"),
        ("exit 1", 60.0, "cannot be loaded"),
        ("kill -11 $$", 60.0, r"ends the process that loads it \(SIGSEGV\)"),
        ("kill -40 $$", 60.0, r"ends the process that loads it \(signal 40\)"),
        ("exec sleep 60", 0.1, "did not load within"),
        ("exec yes >&2", 0.1, "did not load within"),
    ],
    ids=["wordy", "silent", "crash", "real-time signal", "hangs", "never silent"],
)
def test_however_a_load_ends_it_is_said_in_a_line(
    script: str, seconds: float, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(isolate, "WALL_SECONDS", seconds)
    with pytest.raises(ModelLoadError, match=words):
        isolate.probe(tmp_path, LoadOptions())


def test_no_landlock_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confine.platform, "machine", lambda: "riscv64")
    assert confine.confine() == 0
    assert os.access("/tmp", os.W_OK)  # noqa: S108
