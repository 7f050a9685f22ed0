"""Labels of a regression: errors are numpy's, and intervals held what their ids say they held."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kedge_testing import models

from kedge.app import Server
from kedge.build import build
from kedge.bundle.conformal import threshold
from kedge.bundle.contents import Bundle
from kedge.client import PREDICTION_IDS, AdminClient, Client, Reported
from kedge.config import Settings

if TYPE_CHECKING:
    from pathlib import Path

PLANE = "native" if importlib.util.find_spec("kedge._dataplane") else "portable"
SPEC = """
name: delay
version: 1.0.0
model: model.onnx
data: {reference: rows.parquet, label: minutes}
task: regression
"""


def rows(count: int, seed: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    x = random.normal(0, 30, count).astype(np.float32)
    return x, x + 1.0 + random.normal(0, noise, count)


def test_errors_and_coverage_of_values(tmp_path: Path) -> None:
    onnx.save(models.plus(1.0), tmp_path / "model.onnx")
    x, minutes = rows(4000, 1, 5.0)
    pq.write_table(pa.table({"x": x, "minutes": minutes}), tmp_path / "rows.parquet")
    (tmp_path / "spec.yaml").write_text(SPEC)
    build(tmp_path / "spec.yaml", tmp_path / "delay.kedge")
    settings = Settings.model_validate(
        {
            "state": tmp_path / "state",
            "bundle": (tmp_path / "delay.kedge",),
            "plane": PLANE,
            **dict.fromkeys(("grpc", "admin", "metrics"), "127.0.0.1:0"),
        }
    )
    server = Server(settings)
    try:
        facts = server.describe()
        x, truth = rows(800, 2, 8.0)
        with Client(facts["grpc"]) as client, AdminClient(facts["admin"]) as admin:
            answer = client.infer("delay", {"x": x.reshape(-1, 1)}, outputs=("y", PREDICTION_IDS))
            labels = [*zip(answer.prediction_ids, truth.tolist(), strict=True)]
            assert client.report([*labels[:799], (labels[799][0], float("nan"))]) == Reported(accepted=799, invalid=1)
            assert client.report([(labels[799][0], "late"), labels[799]]) == Reported(accepted=1, invalid=1)
            (report,) = admin.outcomes("delay").bundles
        directory = next((tmp_path / "state" / "store" / "sha256").glob("*/bundle.json")).parent
        width = threshold(Bundle.read(directory).distributions, 0.1)
    finally:
        server.stop()
    errors = answer.outputs["y"].ravel().astype(np.float64) - truth
    (arm,) = report.arms
    assert arm.open.mae == pytest.approx(np.abs(errors).mean(), abs=1e-2)
    assert arm.open.rmse == pytest.approx(np.sqrt((errors**2).mean()), abs=1e-2)
    assert arm.open.bias == pytest.approx(errors.mean(), abs=1e-2)
    assert (arm.open.clipped, arm.open.intervals) == (0, 800)
    assert width is not None
    assert arm.open.coverage == pytest.approx((np.abs(errors) <= width).mean(), abs=1 / 800)
    assert not arm.open.HasField("accuracy")
    assert report.evaluated["mae"] == pytest.approx(4.0, abs=0.5)
