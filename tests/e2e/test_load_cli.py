"""`kedge load` against a server as a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pyarrow.parquet
import pytest
from kedge_testing import flights
from kedge_testing.serving import eventually

from kedge.client import AdminClient

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("kedge._load", reason="this build has no load generator")


def test_a_file_of_rows_is_sent_counted_plotted_and_its_labels_reported(
    serve: Any, bundles: Any, kedge: Any, tmp_path: Path, server_environment: dict[str, str]
) -> None:
    server = serve("--bundle", bundles())
    source = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(flights.rows(300, seed=3), source)
    rows = ("flights", "--server", server.grpc, "--input", source)

    plot = tmp_path / "load.html"
    options = ("--rate", "1000", "--requests", "400", "--outcomes", "late", "--key", "carrier", "--plot", plot)
    done = kedge("load", *rows, *options, "--deadline", "10s", "--json")
    assert done.status == 0, done.out + done.err
    found = done.json
    assert found["statuses"] == {"OK": 400}
    assert found["good"] == found["planned"] == 400
    assert [(one["version"], one["count"]) for one in found["origins"]] == [("1.0.0", 400)]
    assert found["labels"]["reported"] == found["labels"]["accepted"] == 400
    assert "Latency, ms" in plot.read_text()
    with AdminClient(server.admin) as admin:  # what is counted is counted after its answer has left
        eventually(lambda: dict(admin.status().models[0].requests) == {0: 400})

    text = kedge("load", *rows, "--closed", "8", "--requests", "100", "--rows-per-request", "3")
    assert text.status == 0, text.err
    assert "100 planned = 100 answered + 0 failed" in text.out
    assert "answered by version 1.0.0" in text.out

    command = [sys.executable, "-m", "kedge", "load", *map(str, rows), "--rate", "100", "--duration", "1h", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=server_environment) as process:
        with AdminClient(server.admin) as admin:
            eventually(lambda: dict(admin.status().models[0].requests)[0] >= 510)  # it is under way
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        early = json.loads(process.stdout.read())
    assert process.returncode == 130
    assert early["interrupted"]
    assert early["ok"] >= 10
    assert early["planned"] == early["answered"] + sum(early["failures"].values())
