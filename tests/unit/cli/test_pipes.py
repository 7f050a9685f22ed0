"""A reader that has seen enough is no failure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("arguments", [("keygen", "--help"), ("bundle", "inspect", "--help")])
def test_a_reader_that_goes_away_ends_a_command_without_a_word(arguments: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    path = os.pathsep.join(filter(None, sys.path))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "kedge", *arguments],
            stdout=writing,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            timeout=60,
            check=False,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def _run(*arguments: str, stdout: int) -> subprocess.CompletedProcess[bytes]:
    path = os.pathsep.join(filter(None, sys.path))
    return subprocess.run(
        [sys.executable, "-m", "kedge", *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
        timeout=60,
        check=False,
    )


def test_an_error_that_nobody_reads_as_json_keeps_its_status_and_shows_no_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = _run("audit", "list", "--state", "/none", "--json", stdout=writing)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (2, b"")


def test_an_error_that_a_full_disk_does_not_take_as_json_is_said_on_standard_error() -> None:
    with open("/dev/full", "wb", buffering=0) as full:  # noqa: PTH123 - a device
        done = _run("audit", "list", "--state", "/none", "--json", stdout=full.fileno())
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: no database '/none/kedge.db'")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("flags", [("--json",), ()])
def test_a_name_that_is_no_text_is_shown_escaped(tmp_path: Path, flags: tuple[str, ...]) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.key")
    done = _run("keygen", name, *flags, stdout=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"/\\udcff.key" in done.stdout
    if flags:
        assert json.loads(done.stdout)["private"] == name
