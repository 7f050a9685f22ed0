"""One part of the traffic goes wrong: its slice is accused, the model's owner told, and all shown beside the build."""

from __future__ import annotations

import importlib.util
import io
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pyarrow.parquet as pq
from kedge_testing import flights
from kedge_testing.serving import eventually
from rich.console import Console

from kedge.app import Server
from kedge.build import build
from kedge.cli import outcomes_text
from kedge.client import PREDICTION_IDS, AdminClient, Client, Reported
from kedge.config import Settings

if TYPE_CHECKING:
    from pathlib import Path

PLANE = "native" if importlib.util.find_spec("kedge._dataplane") is not None else "portable"
ROWS = 3000
SPEC = """
name: flights
version: 1.0.0
model: model.onnx
data: {reference: rows.parquet, label: late}
slices: [carrier, {feature: temp, edges: [30, 60]}]
owners: {model: modellers@example.org}
"""


def test_a_slice_that_went_wrong(tmp_path: Path) -> None:
    onnx.save(flights.model(), tmp_path / "model.onnx")
    pq.write_table(flights.rows(6000, 7), tmp_path / "rows.parquet")
    (tmp_path / "spec.yaml").write_text(SPEC)
    built = build(tmp_path / "spec.yaml", tmp_path / "flights.kedge")
    now = [time.time()]
    addresses = dict.fromkeys(("grpc", "admin", "metrics"), "127.0.0.1:0")
    settings = {"state": tmp_path / "state", "bundle": (tmp_path / "flights.kedge",), "plane": PLANE, **addresses}
    server = Server(Settings.model_validate(settings), lambda: now[0])
    try:
        facts = server.describe()
        with Client(facts["grpc"]) as client, AdminClient(facts["admin"]) as admin:
            table = flights.rows(ROWS, 3)
            columns = {name: np.array(table[name].to_pylist()) for name in ("temp", "distance", "carrier", "late")}
            inputs: dict[str, Any] = {
                name: columns[name].astype(object if name == "carrier" else np.float32).reshape(-1, 1)
                for name in ("temp", "distance", "carrier")
            }
            answer = client.infer("flights", inputs, outputs=("probabilities", PREDICTION_IDS))
            mine = columns["carrier"] == "B6"
            truth = np.where(mine, 1 - answer.outputs["probabilities"].argmax(axis=1), columns["late"])
            labels = zip(answer.prediction_ids, map(int, truth), strict=True)
            assert client.report(labels) == Reported(accepted=ROWS)
            now[0] += 61
            eventually(lambda: admin.outcomes("flights").bundles[0].arms[0].open.predicted == ROWS)
            now[0] += 86400 + 2 * 3600
            name = "live outcomes accuracy of carrier=B6"
            eventually(lambda: name in [alert.subject for alert in server._outcomes._alerts.active()])
            accused = {alert.subject: alert for alert in server._outcomes._alerts.active()}
            others = [f"accuracy of carrier={carrier}" for carrier in flights.CARRIERS if carrier != "B6"]
            assert not any(other in subject for other in others for subject in accused)
            assert accused[name].owner == "modellers@example.org"
            assert f"100.0 % of {mine.sum():,} labelled answers with carrier=B6 are wrong" in accused[name].summary
            report = admin.outcomes("flights")
        text = urllib.request.urlopen(f"http://{facts['metrics']}/metrics").read().decode()
    finally:
        server.stop()
    (arm,) = report.bundles[0].arms
    found = {f"{line.feature}={line.value}": line for line in arm.slices}
    measured = {metric.slice: metric for metric in built.metrics if metric.name == "accuracy"}
    for slice_name, chosen in (("carrier=B6", mine), ("carrier=UA", columns["carrier"] == "UA")):
        line = found[slice_name]
        assert (line.closed.labelled, line.closed.predicted, line.closed.share) == (chosen.sum(), chosen.sum(), 1.0)
        assert line.figures[0].built == measured[slice_name].value
    with np.errstate(invalid="ignore"):
        between = (columns["temp"] >= 30) & (columns["temp"] < 60)
    assert found["temp=30 to 60"].closed.labelled == between.sum()
    assert found["temp=30 to 60"].closed.share == 1.0
    assert {line.closed.labelled for line in arm.slices if line.feature == "temp"} != {0}
    assert (found["carrier=B6"].verdict, found["carrier=UA"].verdict) == ("CRITICAL", "OK")
    assert 'kedge_outcome_slice_accuracy_ratio{arm="live",feature="carrier",model="flights",value="B6"' in text

    written = Console(file=io.StringIO(), width=160)
    for part in outcomes_text.lines("flights", report):
        written.print(part)
    shown = written.file.getvalue()  # type: ignore[attr-defined]
    (row,) = (line for line in shown.splitlines() if "carrier = B6" in line)
    assert "CRITICAL" in row
    assert "0.0 (0.0 to " in row
    payload = outcomes_text.payload(report)["bundles"][0]["arms"][0]
    wrong = {row["label"]: row["predicted"] for row in payload["confusion"]}
    assert set(wrong) == {"0", "1"} == set(wrong["0"])
    assert sum(sum(row.values()) for row in wrong.values()) == ROWS
    assert wrong["0"]["1"] == ((truth == 0) & (answer.outputs["probabilities"].argmax(axis=1) == 1)).sum()
