"""`kedge bundle verify | inspect | diff` as a user runs them: real processes, real files, exit statuses."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MAKING = runpy.run_path(str(Path(__file__).parents[1] / "unit" / "bundle" / "making.py"))


def kedge(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TERM": "dumb"}
    command = [sys.executable, "-m", "kedge", "bundle", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "flights-1.0.0.kedge"
    path.write_bytes(MAKING["pack"](MAKING["files"]()))
    return path


@pytest.fixture
def better(tmp_path: Path) -> Path:
    documents = MAKING["documents"]()
    documents["eval/metrics.json"]["metrics"][0]["value"] = 0.93
    documents["features/schema.json"]["features"][0]["valid"] = {"max": 3.0}
    documents["reference/distributions.json"]["features"][0]["counts"][0] = 61
    path = tmp_path / "flights-1.1.0.kedge"
    path.write_bytes(MAKING["pack"](MAKING["files"](documents), version="1.1.0"))
    return path


@pytest.fixture
def damaged(good: Path) -> Path:
    data = bytearray(good.read_bytes())
    data[data.index(b"MatMul")] ^= 1
    path = good.with_name("damaged.kedge")
    path.write_bytes(data)
    return path


def test_verify_accepts_a_whole_bundle(good: Path) -> None:
    result = kedge("verify", good)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"ok {good}: flights 1.0.0 ")


def test_verify_refuses_a_damaged_bundle_with_the_files_name_and_exit_1(good: Path, damaged: Path) -> None:
    result = kedge("verify", good, damaged)
    assert result.returncode == 1
    assert f"refused {damaged}: model/model.onnx: its SHA-256 is not the one in bundle.json" in result.stdout
    result = kedge("verify", "--json", good, damaged)
    assert result.returncode == 1
    first, second = json.loads(result.stdout)["bundles"]
    assert (first["ok"], first["name"], second["ok"]) == (True, "flights", False)
    assert second["reason"].startswith("model/model.onnx")


def test_inspect_shows_what_is_inside_an_archive_or_a_directory(good: Path, tmp_path: Path) -> None:
    tree = MAKING["lay_out"](tmp_path / "tree", MAKING["files"]())
    result = kedge("inspect", good)
    assert result.returncode == 0
    for word in ("flights 1.0.0", "Tensors", "FP32", "speed", "accuracy", "0.9", "passed", "model/model.onnx"):
        assert word in result.stdout
    assert kedge("inspect", tree).stdout == result.stdout
    value: dict[str, Any] = json.loads(kedge("inspect", good, "--json").stdout)
    assert value["manifest"]["name"] == "flights"
    assert value["metrics"]["metrics"][0]["value"] == 0.9
    assert len(value["id"]) == 64


def test_diff_says_what_differs_by_section(good: Path, better: Path) -> None:
    same = kedge("diff", good, good)
    assert (same.returncode, same.stdout.split()[:2]) == (0, ["same", "bundle:"])
    result = kedge("diff", good, better)
    assert result.returncode == 1
    for words in ("identity", "1.1.0", "features.speed.valid.max", "metrics.accuracy.value", "+0.03"):
        assert words in result.stdout
    sections = json.loads(kedge("diff", good, better, "--json").stdout)["sections"]
    assert set(sections) == {"identity", "schema", "metrics", "distributions"}
    assert sections["metrics"] == [{"where": "metrics.accuracy.value", "first": 0.9, "second": 0.93}]


def test_an_error_about_one_of_two_bundles_names_it(good: Path, damaged: Path) -> None:
    result = kedge("diff", good, damaged)
    assert result.returncode == 2
    assert result.stderr.startswith("error: damaged.kedge: model/model.onnx: its SHA-256")


@pytest.mark.parametrize("command", ["verify", "inspect", "diff"])
def test_help_has_an_example(command: str) -> None:
    result = kedge(command, "--help")
    assert result.returncode == 0
    assert f"kedge bundle {command} flights-late-1.0.0.kedge" in result.stdout


@pytest.mark.parametrize("command", ["verify", "inspect", "diff"])
def test_bad_input_is_one_line_and_exit_2(command: str, damaged: Path, tmp_path: Path) -> None:
    for bad in (tmp_path / "absent", Path("/dev/null"), *([] if command == "verify" else [damaged, tmp_path])):
        result = kedge(command, *([bad] * (2 if command == "diff" else 1)))
        assert result.returncode == 2, result
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1
        assert result.stdout == ""
    assert kedge(command).returncode == 2
    if command != "verify":
        here = kedge(command, ".", *["."] * (command == "diff"))
        assert here.stderr.startswith("error: .: cannot read 'bundle.json'"), "the current directory has a name too"
    error = json.loads(kedge(command, tmp_path / "absent", tmp_path / "absent", "--json").stdout.splitlines()[0])
    assert error["error"]["code"] == "INVALID_ARGUMENT"
