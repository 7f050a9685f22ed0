"""`kedge predict`: files in, predictions out, against a real server."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from kedge_testing import flights

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
        "No such file": ["--input", tmp_path / "none.csv"],
        "unknown version '9' of model 'flights'": ["--input", good, "--version", "9"],
        "--output: ": ["--input", good, "--output", tmp_path / "o.txt"],
    }
    for message, flags in cases.items():
        done = kedge("predict", "flights", "--server", server.grpc, *flags)
        assert done.status == 2, message
        assert message in done.err
        assert done.err.count("\n") == 1
    unknown = kedge("predict", "nothing", "--input", good, "--server", server.grpc, "--json")
    assert unknown.status == 2
    assert unknown.json["error"]["code"] == "NOT_FOUND"


def test_no_server_is_said_with_its_address(kedge: Any, table: pa.Table, tmp_path: Path) -> None:
    done = kedge("predict", "m", "--input", write(table, tmp_path / "r.csv"), "--server", "127.0.0.1:9")
    assert done.status == 2
    assert done.err == "error: no server answers at 127.0.0.1:9; is `kedge serve` running there?\n"


def test_ctrl_c_ends_with_130_and_no_words(serve: Any, bundles: Any, table: pa.Table, tmp_path: Path) -> None:
    server = serve("--bundle", bundles(slow=True))
    hot = pa.array([flights.SLOW_TEMP] * len(table), pa.float32())
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
    time.sleep(2.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "")
