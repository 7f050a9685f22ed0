"""`kedge bundle build` as a user runs it: its own process, exit statuses, one line for every error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.csv
import pytest
from onnx import TensorProto, helper, numpy_helper

import kedge

SPEC = "name: test\nversion: 1.0.0\nmodel: model.onnx\ndata: {reference: data.csv, label: label}\n"


def run(folder: Path, *arguments: str, hash_seed: str = "0") -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(kedge.__file__).parents[1]), "PYTHONHASHSEED": hash_seed}
    return subprocess.run(
        [sys.executable, "-m", "kedge", "bundle", "build", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A classifier of two columns, its data as CSV, and the smallest spec."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("Softmax", ["z"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(np.array([[-2, 2], [0, 0]], np.float32), "w")],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "model.onnx"
    )
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=500), rng.normal(size=500)
    label = (a + 0.3 * rng.normal(size=500) > 0).astype(int)
    pyarrow.csv.write_csv(pa.table({"a": a, "b": b, "label": label}), tmp_path / "data.csv")
    (tmp_path / "spec.yaml").write_text(SPEC)
    return tmp_path


def test_a_build_prints_what_it_inferred_and_measured_and_the_id(folder: Path) -> None:
    done = run(folder, "spec.yaml", "-o", "out.kedge")
    assert (done.returncode, done.stderr) == (0, "")
    for text in ("probabilities of 0, 1", "500 reference, 100 calibration, 100 evaluation", "Wilson", "bundle id"):
        assert text in done.stdout
    assert (folder / "out.kedge").is_file()


def test_json_says_the_same_and_two_builds_are_byte_identical(folder: Path) -> None:
    one = json.loads(run(folder, "spec.yaml", "-o", "one.kedge", "--json").stdout)
    two = json.loads(run(folder, "spec.yaml", "-o", "two.kedge", "--json", hash_seed="77").stdout)
    assert one["id"] == two["id"]
    assert (folder / "one.kedge").read_bytes() == (folder / "two.kedge").read_bytes()
    assert [feature["name"] for feature in one["features"]] == ["a", "b"]
    assert one["rows"] == {"reference": 500, "calibration": 100, "evaluation": 100}


def test_a_failed_gate_is_exit_1_and_no_file(folder: Path) -> None:
    (folder / "spec.yaml").write_text(SPEC + "gates: ['accuracy >= 1']\n")
    done = run(folder, "spec.yaml", "-o", "out.kedge")
    assert done.returncode == 1
    assert "FAILED" in done.stdout
    assert "gate accuracy >= 1 failed" in done.stdout
    assert not (folder / "out.kedge").exists()
    assert run(folder, "spec.yaml", "-o", "out.kedge", "--allow-failed-gates").returncode == 0
    assert (folder / "out.kedge").is_file()


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("name: [\n", "error: spec 'spec.yaml': not valid YAML at line 2"),
        (SPEC + "modle: x\n", "error: spec 'spec.yaml': modle: unknown key; did you mean 'model'?"),
        (
            SPEC.replace("data.csv", "absent.csv"),
            "error: cannot read data file 'absent.csv': No such file or directory",
        ),
        (SPEC.replace("data.csv", "spec.yaml"), "error: data file 'spec.yaml': unknown ending '.yaml'"),
        (SPEC.replace("model.onnx", "data.csv"), "error: model 'data.csv' is not an ONNX file"),
        (SPEC + "features: [a]\n", "error: input 'x' FP32 [N, 2] takes 2 features, the data gives 1: a"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(folder: Path, spec: str, complaint: str) -> None:
    (folder / "spec.yaml").write_text(spec)
    done = run(folder, "spec.yaml", "-o", "out.kedge")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(complaint)
    assert done.stderr.count("\n") == 1
    assert not (folder / "out.kedge").exists()


@pytest.mark.parametrize(
    ("output", "complaint"),
    [
        (".", "error: '-o .': is a directory; name the archive to write"),
        ("", "error: '-o .': is a directory; name the archive to write"),
        ("..", "error: '-o ..': is a directory; name the archive to write"),
        ("absent/out.kedge", "error: cannot write 'absent/out.kedge': the folder 'absent' does not exist"),
        ("model.onnx", "error: '-o model.onnx': is the model this bundle is made from; name another file"),
    ],
)
def test_an_output_that_cannot_be_is_one_line_and_exit_2(folder: Path, output: str, complaint: str) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    done = run(folder, "spec.yaml", "-o", output)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{complaint}\n")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_errors_are_json_where_json_was_asked_for(folder: Path) -> None:
    done = run(folder, "absent.yaml", "-o", "out.kedge", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["message"] == "cannot read spec 'absent.yaml': No such file or directory"


def test_usage_errors_and_help(folder: Path) -> None:
    missing = run(folder, "spec.yaml")
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)
    assert "--output" in missing.stderr
    assert "kedge bundle build spec.yaml -o" in run(folder, "--help").stdout
