"""The evaluator in a real server: verdicts and causes reach `kedge drift --watch`, the report and the metrics."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kedge_testing import flights
from kedge_testing.serving import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def server(serve: Any, bundles: Any) -> Any:
    return serve("--bundle", bundles())


@pytest.fixture
def watched(server: Any, tmp_path: Path) -> Iterator[Any]:
    """`kedge drift --watch --json`, and what it has printed so far."""
    out = tmp_path / "watch.jsonl"
    with out.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "kedge", "drift", "flights", "--admin", server.admin, "--watch", "--json"],
            stdout=file, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        )  # fmt: skip
        yield lambda: [json.loads(line) for line in out.read_text().splitlines()]
        process.terminate()
        process.communicate(timeout=20)


def send(kedge: Any, server: Any, table: pa.Table, path: Path) -> None:
    pq.write_table(table, path)
    assert kedge("predict", "flights", "--input", path, "--server", server.grpc, "--batch", "500", "--json").status == 0


def test_a_broken_column_is_watched_reported_and_measured(
    server: Any, kedge: Any, watched: Any, tmp_path: Path
) -> None:
    send(kedge, server, flights.rows(1500, 1), tmp_path / "calm.parquet")
    eventually(lambda: any(item["name"] == "temp" and item["verdict"] == "OK" for item in watched()))
    table = flights.rows(1500, 2)
    broken = table.set_column(0, "temp", pa.array(np.full(1500, np.nan, np.float32)))
    send(kedge, server, broken, tmp_path / "broken.parquet")
    eventually(lambda: any(item["name"] == "temp" and item["verdict"] == "CRITICAL" for item in watched()))
    found = next(item for item in watched() if item["verdict"] == "CRITICAL" and item["name"] == "temp")
    assert (found["cause"], found["test"], found["arm"], found["effect"]) == ("pipeline", "missing", "live", 1.0)
    assert found["reasons"] == ["missing share 1.9 % -> 100 %"]
    assert found["windows"][0]["rows"] >= 1000
    report = kedge("drift", "flights", "--admin", server.admin, "--json").json
    line = report["lines"][0]
    assert (line["name"], line["verdict"], line["cause"], line["test"]) == ("temp", "CRITICAL", "pipeline", "missing")
    assert report["estimate"]["rows"] == 3000
    assert "estimated accuracy" in kedge("drift", "flights", "--admin", server.admin).out
    text = urllib.request.urlopen(f"http://{server.metrics}/metrics", timeout=10).read().decode()
    (severity,) = [
        row for row in text.splitlines() if row.startswith("kedge_verdict_severity{") and 'name="temp"' in row
    ]
    assert 'cause="pipeline"' in severity
    assert severity.endswith(" 2.0")


def test_watching_takes_no_window_and_knows_its_models(server: Any, kedge: Any) -> None:
    done = kedge("drift", "flights", "--admin", server.admin, "--watch", "--last", "1h")
    assert done.status == 2
    assert "it takes no --since, --last or --plot" in done.err
    other = kedge("drift", "other", "--admin", server.admin, "--watch")
    assert other.status == 2
    assert "no model 'other' is live here" in other.err
