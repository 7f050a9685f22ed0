"""What labels set in motion in a running server: verdicts and alerts, miss rates, new keys. Its clock is the test's."""

from __future__ import annotations

import time
import urllib.request
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest
from kedge_testing import flights
from kedge_testing.serving import eventually

from kedge.alerts.errors import AlertStoreError
from kedge.app import Server
from kedge.app_outcomes import COUNT_SECONDS
from kedge.build import build
from kedge.client import PREDICTION_IDS, AdminClient, Client, Reported
from kedge.client.values import request, result
from kedge.config import Settings
from kedge.plane.token import unseal
from kedge.plane.token_keys import ROTATE_SECONDS, load
from kedge.proto import admin
from kedge.proto import inference as pb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DAY = 86400
ROWS = 600
SPEC = """
name: flights
version: 1.0.0
model: model.onnx
data: {reference: rows.parquet, label: late}
owners: {model: modellers@example.org}
confidence: {alpha: 0.1, adaptive: true}
"""


class Running:
    """A server of this process, and its clock."""

    def __init__(self, folder: Path) -> None:
        onnx.save(flights.model(), folder / "model.onnx")
        pq.write_table(flights.rows(4000, 7), folder / "rows.parquet")
        (folder / "spec.yaml").write_text(SPEC)
        build(folder / "spec.yaml", folder / "flights.kedge")
        self.now = time.time()
        self.state = folder / "state"
        addresses = dict.fromkeys(("grpc", "admin", "metrics"), "127.0.0.1:0")
        settings = Settings.model_validate(
            {"state": self.state, "bundle": (folder / "flights.kedge",), "plane": "portable", **addresses}
        )
        self.server = Server(settings, lambda: self.now)
        facts = self.server.describe()
        self.client, self.admin = Client(facts["grpc"]), AdminClient(facts["admin"])
        self.channel = grpc.insecure_channel(facts["grpc"])
        self.metrics = f"http://{facts['metrics']}/metrics"

    def predict(self, count: int) -> Any:
        table = flights.rows(count, 3)
        inputs = {
            name: np.array(table[name].to_pylist(), dtype=object if name == "carrier" else np.float32).reshape(-1, 1)
            for name in ("temp", "distance", "carrier")
        }
        message = request("flights", inputs, outputs=("probabilities", PREDICTION_IDS))
        message.parameters["kedge_confidence"].bool_param = True
        method = self.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        return result(pb.ModelInferResponse.FromString(method(message.SerializeToString(), timeout=30)))

    def report(self) -> Any:
        (bundle,) = self.admin.outcomes("flights").bundles
        return bundle

    def stop(self) -> None:
        self.channel.close()
        self.client.close()
        self.admin.close()
        self.server.stop()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    one = Running(tmp_path_factory.mktemp("server"))
    yield one
    one.stop()


def test_what_labels_set_in_motion(running: Running) -> None:
    first = running.predict(ROWS)
    running.predict(ROWS // 2)
    chosen = first.outputs["probabilities"].argmax(axis=1)
    sets = first.outputs["kedge.set"]
    labels = [(text, int(1 - label)) for text, label in zip(first.prediction_ids, chosen, strict=True)]
    assert running.client.report(labels) == Reported(accepted=ROWS)

    missed = int((~sets[np.arange(ROWS), 1 - chosen]).sum())
    (arm,) = running.report().arms
    assert (arm.open.intervals, arm.open.accuracy) == (ROWS, 0.0)
    assert arm.open.coverage == pytest.approx(1 - missed / ROWS, abs=1.5 / ROWS)

    running.now += 61
    eventually(lambda: running.report().alpha != 0.1)
    alpha = running.report().alpha
    assert alpha == pytest.approx(0.1 + 0.005 * (0.1 * ROWS - missed), abs=0.0051)
    before = int(sets.sum())
    eventually(lambda: int(running.predict(ROWS).outputs["kedge.set"].sum()) != before)
    assert (int(running.predict(ROWS).outputs["kedge.set"].sum()) < before) is (alpha > 0.1)

    running.now += DAY + 2 * 3600
    eventually(lambda: [a.subject for a in active(running)] == ["live outcomes accuracy"])
    (alert,) = active(running)
    assert (alert.cause.value, alert.owner, alert.severity.value) == ("outcomes", "modellers@example.org", "critical")
    assert "accuracy: 100.0 % of 600 labelled answers are wrong" in alert.summary
    text = urllib.request.urlopen(running.metrics).read().decode()  # noqa: S310
    assert 'kedge_outcome_accuracy_ratio{arm="live",model="flights",version="1.0.0"} 0.0' in text
    assert running.report().arms[0].closed.share == pytest.approx(2 / 3)
    accuracy = next(verdict for verdict in running.report().verdicts if verdict.name == "accuracy")
    assert (accuracy.verdict, accuracy.rows) == ("CRITICAL", ROWS)
    assert accuracy.reasons[1] == "labels came for 66.7 % of the predictions"
    standing = {(item.subject, item.name): item for item in next(running.admin.watch("flights")).standings}
    assert standing["outcomes", "accuracy"].verdict == admin.CRITICAL
    assert standing["outcomes", "coverage"].rows == ROWS
    assert ("system", "errors") in standing, "beside what the evaluator found"


def active(running: Running) -> list[Any]:
    return [alert for alert in running.server._outcomes._alerts.active() if alert.cause.value == "outcomes"]


def test_alerts_that_cannot_be_written_keep_no_bundle_live(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """The labels say by now that it is far worse than at build."""
    asked: list[str] = []

    def full(*_: object) -> NoReturn:
        raise AlertStoreError("disk full")

    monkeypatch.setattr("kedge.app_outcomes.tell", full)
    monkeypatch.setattr(running.server._rollouts, "distrust", lambda bundle, *_: asked.append(bundle))
    running.now += COUNT_SECONDS
    eventually(lambda: asked)


def test_keys_are_rotated_under_way_and_ids_stay_unique(running: Running) -> None:
    old = running.predict(1)
    running.now += ROTATE_SECONDS
    eventually(lambda: running.predict(1).prediction_ids[0][:3] != old.prediction_ids[0][:3])
    new = running.predict(1)
    keys = load(running.state / "keys", lambda: running.now).keys
    table = unseal([*old.prediction_ids, *new.prediction_ids], keys)
    assert table["status"].tolist() == [0, 0]
    assert table["boot"][0] == table["boot"][1]
    assert table["sequence"][0] < table["sequence"][1]
    assert running.client.report([(new.prediction_ids[0], 1)]) == Reported(expired=1), "by this clock it is old"
