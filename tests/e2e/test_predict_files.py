"""`kedge predict`: files in, predictions out, against a real server."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from kedge_testing import flights
from kedge_testing.serving import eventually
from onnx import TensorProto, helper, numpy_helper

from kedge.build import build
from kedge.client import AdminClient

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return flights.rows(700, seed=11)


@pytest.fixture
def server(serve: Any, bundles: Any) -> Any:
    return serve("--bundle", bundles())


def local(table: pa.Table) -> np.ndarray:
    session = onnxruntime.InferenceSession(flights.model().SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {name: table[name].to_numpy().reshape(-1, 1) for name in ("temp", "distance")}
    feeds["carrier"] = np.array(table["carrier"].to_pylist(), dtype=object).reshape(-1, 1)
    return np.asarray(session.run(None, feeds)[0])


def write(table: pa.Table, path: Path) -> Path:
    if path.suffix == ".parquet":
        pa.parquet.write_table(table, path)
    elif path.suffix == ".csv":
        pa.csv.write_csv(table, path)
    else:
        rows = [
            {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}
            for row in table.to_pylist()
        ]
        path.write_text(json.dumps(rows))
    return path


def test_every_format_gives_the_answers_of_a_local_runtime(
    server: Any, kedge: Any, table: pa.Table, tmp_path: Path
) -> None:
    expected = local(table)
    for suffix in (".parquet", ".csv", ".json"):
        source = write(table, tmp_path / f"rows{suffix}")
        target = tmp_path / f"predictions{suffix}"
        done = kedge(
            "predict",
            "flights",
            "--input",
            source,
            "--server",
            server.grpc,
            "--output",
            target,
            "--batch",
            "64",
            "--json",
        )
        assert done.status == 0, done.err
        assert done.json == {"model": "flights", "versions": {"1.0.0": 700}, "rows": 700, "output": str(target)}
        if suffix == ".parquet":
            got = pa.parquet.read_table(target)
        elif suffix == ".csv":
            got = pa.csv.read_csv(target)
        else:
            got = pa.Table.from_pylist([json.loads(line) for line in target.read_text().splitlines()])
        assert got.column_names == ["probabilities_0", "probabilities_1"]
        assert np.allclose(np.stack([got[name].to_numpy() for name in got.column_names], axis=1), expected, atol=1e-6)


def test_the_terminal_shows_the_first_rows_and_says_how_many_more(
    server: Any, kedge: Any, table: pa.Table, tmp_path: Path
) -> None:
    done = kedge("predict", "flights", "--input", write(table, tmp_path / "r.parquet"), "--server", server.grpc)
    assert done.status == 0
    assert "probabilities_1" in done.out
    assert "and 680 more rows" in done.out
    assert "version 1.0.0 (700 rows)" in done.out


def test_bad_input_is_one_line_and_exit_2(server: Any, kedge: Any, table: pa.Table, tmp_path: Path) -> None:
    good = write(table.slice(0, 5), tmp_path / "good.parquet")
    text = tmp_path / "text.csv"
    text.write_text("temp,distance,carrier\nwarm,500,UA\n")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    (tmp_path / "empty.csv").write_text("temp,distance,carrier\n")
    cases = {
        "needs columns the input has not: 'carrier'": [
            "--input",
            write(table.drop(["carrier"]), tmp_path / "less.parquet"),
        ],
        "does not fit input 'temp' of FP32: it holds text": ["--input", text],
        "cannot be read as parquet": ["--input", tmp_path / "broken.parquet"],
        "has no rows": ["--input", tmp_path / "empty.csv"],
        "must end in .parquet, .csv, .json": ["--input", tmp_path / "rows.xlsx"],
        "none.csv': No such file": ["--input", tmp_path / "none.csv"],
        "unknown version '9' of model 'flights'": ["--input", good, "--version", "9"],
        "--output: ": ["--input", good, "--output", tmp_path / "o.txt"],
        "no/such' does not exist": ["--input", good, "--output", tmp_path / "no" / "such" / "o.csv"],
    }
    for message, flags in cases.items():
        done = kedge("predict", "flights", "--server", server.grpc, *flags)
        assert done.status == 2, message
        assert message in done.err
        assert done.err.count("\n") == 1

    def served() -> int:
        return int(kedge("status", "flights", "--admin", server.admin, "--json").json["models"][0]["rows"])

    assert served() == 0, "a row was sent before the flags were checked"
    assert kedge("predict", "flights", "--server", server.grpc, "--input", good).status == 0
    assert served() == 5
    unknown = kedge("predict", "nothing", "--input", good, "--server", server.grpc, "--json")
    assert unknown.status == 2
    assert unknown.json["error"]["code"] == "NOT_FOUND"


def test_no_server_is_said_with_its_address(kedge: Any, table: pa.Table, tmp_path: Path) -> None:
    done = kedge("predict", "m", "--input", write(table, tmp_path / "r.csv"), "--server", "127.0.0.1:9")
    assert done.status == 2
    assert done.err == "error: no server answers at 127.0.0.1:9; is `kedge serve` running there?\n"


def test_swapped_ports_are_said(server: Any, kedge: Any, table: pa.Table, tmp_path: Path) -> None:
    rows = write(table.slice(0, 5), tmp_path / "r.csv")
    data = kedge("predict", "flights", "--input", rows, "--server", server.admin)
    assert data.status == 2
    assert data.err == (
        f"error: {server.admin} does not answer inference.GRPCInferenceService; "
        "is it the data port (8001 by default)?\n"
    )
    for command in (("status",), ("drift", "flights")):
        admin = kedge(*command, "--admin", server.grpc)
        assert admin.status == 2
        assert admin.err == (
            f"error: {server.grpc} does not answer kedge.v1.Admin; is it the admin port (8003 by default)?\n"
        )
    nonsense = kedge("predict", "flights", "--input", rows, "--server", "nonsense")
    assert "'nonsense' is no address; write host:port" in nonsense.err


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of x [N, 3] whose columns a, b, c weigh 1, 10 and 100."""
    root = tmp_path_factory.mktemp("wide")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weights"], ["y"])],
        "wide",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1])],
        [numpy_helper.from_array(np.array([[1], [10], [100]], np.float32), "weights")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), root / "wide.onnx")
    random = np.random.default_rng(3)
    reference = pa.table({name: random.normal(size=500).astype(np.float32) for name in ("a", "b", "c")})
    write(reference, root / "wide.parquet")
    (root / "wide.yaml").write_text("name: wide\nversion: 1.0.0\nmodel: wide.onnx\ndata:\n  reference: wide.parquet\n")
    build(root / "wide.yaml", root / "wide.kedge")
    return root / "wide.kedge"


def test_the_order_of_a_files_columns_does_not_change_the_answers(
    serve: Any, wide: Path, kedge: Any, tmp_path: Path
) -> None:
    server = serve("--bundle", wide)

    def ask(header: str, row: str) -> Any:
        (tmp_path / "r.csv").write_text(f"{header}\n{row}\n")
        return kedge("predict", "wide", "--input", tmp_path / "r.csv", "--server", server.grpc, "--json")

    for header, row, note in (
        ("a,b,c", "1,2,3", ""),
        ("c,a,b", "3,1,2", ""),
        ("label,b,c,a", "9,2,3,1", "note: columns were matched by name; ignored: 'label'\n"),
    ):
        done = ask(header, row)
        assert done.json["predictions"] == [{"y": 321.0}], header
        assert done.err == note
    by_position = ask("p,q,r", "1,2,3")
    assert by_position.json["predictions"] == [{"y": 321.0}]
    assert by_position.err.startswith("note: columns were taken for 'x' by position, because the file has no 'a', 'b',")
    assert by_position.err.count("\n") == 1
    refused = ask("a,b", "1,2")
    assert refused.status == 2
    assert "the model's are 'a', 'b', 'c'" in refused.json["error"]["message"]


def test_ctrl_c_ends_with_130_and_no_words(serve: Any, bundles: Any, table: pa.Table, tmp_path: Path) -> None:
    server = serve("--bundle", bundles(slow=True))
    hot = pa.array([flights.SLOW_TEMP / 20] * len(table), pa.float32())  # a tenth of a second each, a minute in all
    source = write(table.set_column(0, "temp", hot), tmp_path / "r.parquet")
    command = [
        sys.executable,
        "-m",
        "kedge",
        "predict",
        "flights",
        "--input",
        str(source),
        "--server",
        server.grpc,
        "--batch",
        "1",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with AdminClient(server.admin) as admin:
        eventually(lambda: admin.status().models[0].rows > 0)  # it is under way
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "")
