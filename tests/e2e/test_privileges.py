"""What a server gives up: root, new privileges, core files, readers of its memory and of its files."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.conftest import Process

ROOT = Path(__file__).resolve().parents[2]
FREE = ("--grpc", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--metrics", "127.0.0.1:0")
NOBODY = "nobody"


def status(process: subprocess.Popen[Any]) -> dict[str, str]:
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_a_server_gains_no_privileges_leaves_no_core_and_writes_for_its_owner_alone(
    serve: Callable[..., Process], bundles: Callable[[], Path], tmp_path: Path
) -> None:
    state = tmp_path / "state"
    server = serve("--bundle", bundles(), state=state)
    found = status(server.process)
    assert found["NoNewPrivs"] == "1"
    limits = Path(f"/proc/{server.process.pid}/limits").read_text()
    assert next(line for line in limits.splitlines() if line.startswith("Max core")).split()[4:6] == ["0", "0"]
    owner = Path(f"/proc/{server.process.pid}/environ").stat().st_uid
    assert owner == 0, "a process that may not be dumped shows its files in /proc to root alone"
    assert ("running as root" in server.log.read_text()) == (os.geteuid() == 0)

    for path in (state, *state.rglob("*")):
        facts = path.lstat()
        public = path.suffix == ".vkey"  # a public key, for verifiers
        assert stat.S_IMODE(facts.st_mode) & (0o033 if public else 0o077) == 0, path


def interpreter() -> str | None:
    """A Python of this version that user nobody can run with these packages, if there is one."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for path in (sys.executable, shutil.which(version, path="/usr/bin:/usr/local/bin")):
        program = [path, "-c", "import numpy, grpc, kedge.config"]
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            if path and subprocess.run(program, user=NOBODY, env=packages(), check=False, cwd="/").returncode == 0:
                return path
    return None


def packages() -> dict[str, str]:
    """The environment in which another interpreter finds what this one has."""
    places = [str(ROOT / "src"), *(path for path in sys.path if "site-packages" in path), sysconfig.get_path("purelib")]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KEDGE_", "PYTHON"))}
    return {**kept, "PYTHONPATH": os.pathsep.join(dict.fromkeys(places)), "ORT_DISABLE_TELEMETRY": "1"}


@pytest.fixture
def reachable(tmp_path: Path) -> Iterator[Path]:
    """A directory of ours that everybody may pass through to."""
    directory = Path("/tmp") / f"kedge-test-{os.getpid()}"  # noqa: S108 - pytest's own is closed to others
    directory.mkdir(mode=0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_root_becomes_the_user_it_is_told_to_and_serves_as_that(
    bundles: Callable[[], Path], reachable: Path, tmp_path: Path
) -> None:
    python = interpreter()
    if python is None:
        pytest.skip("no Python of this version that nobody can run")
    archive = shutil.copy(bundles(), reachable / "flights.kedge")
    Path(archive).chmod(0o644)
    state = reachable / "state"
    sockets = reachable / "sockets"
    sockets.mkdir()
    shutil.chown(sockets, NOBODY)
    addresses = ["--grpc", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--admin", f"unix:{sockets}/admin.sock"]
    log = (tmp_path / "log").open("w")
    process = subprocess.Popen(
        [python, "-m", "kedge", "serve", "--user", NOBODY, "--state", str(state), "--bundle", archive, *addresses,
         "--json"],
        stdout=subprocess.PIPE, stderr=log, text=True, env=packages(), cwd="/",
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (tmp_path / "log").read_text()
        ready = json.loads(line)
        assert ready.get("event") == "ready", ready
        assert ready["models"][0]["model"] == "flights"
        user = pwd.getpwnam(NOBODY)
        found = status(process)
        assert found["Uid"].split() == [str(user.pw_uid)] * 4
        assert found["Gid"].split() == [str(user.pw_gid)] * 4
        assert set(map(int, found["Groups"].split())) == set(os.getgrouplist(NOBODY, user.pw_gid))
        assert int(found["CapEff"], 16) == int(found["CapPrm"], 16) == 0
        assert found["NoNewPrivs"] == "1"
        assert "running as root" not in (tmp_path / "log").read_text()
        for path in (state, *state.rglob("*"), sockets / "admin.sock"):
            assert path.lstat().st_uid == user.pw_uid, path
        assert stat.S_IMODE(state.stat().st_mode) == 0o700
        with socket.create_connection(ready["grpc"].rsplit(":", 1), timeout=10):
            pass
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        log.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start it so")
def test_users_that_are_none_and_root_are_refused(kedge: Callable[..., Any], tmp_path: Path) -> None:
    for user, words in (("no-such-user", "has no user 'no-such-user'"), ("root", "is who to get away from")):
        done = kedge("serve", "--state", tmp_path / "state", *FREE, "--user", user)
        assert (done.status, words in done.err) == (2, True), done.err
    assert not (tmp_path / "state").exists()
