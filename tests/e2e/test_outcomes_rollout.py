"""Labels of a canary and its control reach the guard on outcomes: by epoch, by unit, once their cohorts are closed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pyarrow.parquet as pq
from kedge_testing import flights
from kedge_testing.serving import eventually

from kedge.app import Server
from kedge.audit.record import SYSTEM
from kedge.build import build
from kedge.client import PREDICTION_IDS, Client, Reported
from kedge.config import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from kedge.rollout.reading import Reading

HOUR = 3600
SPEC = """
name: flights
version: {version}
model: model-{version}.onnx
data: {{reference: rows.parquet, label: late}}
outcomes: {{maturity_seconds: 3600}}
"""
PLAN = {"strategy": "canary", "steps": [{"share": 0.5, "units": 100000, "min_seconds": 1}]}


def archive(folder: Path, version: str, bias: float) -> Path:
    onnx.save(flights.model(bias), folder / f"model-{version}.onnx")
    (folder / f"{version}.yaml").write_text(SPEC.format(version=version))
    build(folder / f"{version}.yaml", folder / f"{version}.kedge")
    return folder / f"{version}.kedge"


def test_wrong_answers_of_a_canary_are_held_against_its_control(tmp_path: Path) -> None:
    pq.write_table(flights.rows(4000, 7), tmp_path / "rows.parquet")
    now = time.time()
    addresses = dict.fromkeys(("grpc", "admin", "metrics"), "127.0.0.1:0")
    settings = Settings.model_validate(
        {"state": tmp_path / "state", "bundle": (archive(tmp_path, "1", 0.0),), "plane": "portable", **addresses}
    )
    server = Server(settings, lambda: now)
    try:
        store = server._rollouts._desk.store
        candidate = store.add(archive(tmp_path, "2", 0.1))
        server._rollouts.deploy(candidate.id, strategy="canary", plan=PLAN, by=SYSTEM)
        table = flights.rows(3, 5)
        inputs: dict[str, Any] = {
            name: np.array(table[name].to_pylist(), dtype=object if name == "carrier" else np.float32).reshape(-1, 1)
            for name in ("temp", "distance", "carrier")
        }
        one_row = {name: array[:1] for name, array in inputs.items()}
        labels, units = [], {"canary": [0, 0], "control": [0, 0]}
        with Client(server.describe()["grpc"]) as client:
            for i in range(120):
                several = i % 3 == 0
                rows = inputs if several else one_row
                answer = client.infer("flights", rows, outputs=("probabilities", PREDICTION_IDS))
                wrong = answer.arm == "canary"
                chosen = answer.outputs["probabilities"].argmax(axis=1)
                units[answer.arm][wrong] += 1
                labels += [
                    (text, int(label ^ wrong)) for text, label in zip(answer.prediction_ids, chosen, strict=True)
                ]
            heavy = [client.infer("flights", one_row, key="a heavy user") for _ in range(30)]
            units[heavy[0].arm][heavy[0].arm == "canary"] += 1
            for answer in heavy:
                label = int(answer.outputs["probabilities"].argmax()) ^ (answer.arm == "canary")
                labels.append((answer.prediction_ids[0], int(label)))
            assert client.report(labels) == Reported(accepted=len(labels))

        def reading() -> Reading:
            (state,) = server._rollouts.status("flights")
            assert state.rollout is not None
            return next(item for item in state.rollout.readings if item.guard == "outcomes")

        eventually(lambda: any(state.rollout.readings for state in server._rollouts.status("flights") if state.rollout))
        assert reading().n == 0, "young cohorts are not judged"
        now += 2 * HOUR
        eventually(lambda: reading().n > 0)
        assert units["control"][1] == units["canary"][0] == 0
        (step,) = next(iter(server._outcomes._steps.values()))
        assert step.share == 0.5
        assert (step.canary_right, step.canary_wrong) == tuple(units["canary"])
        assert (step.control_right, step.control_wrong) == tuple(units["control"])
        assert reading().log_e is not None
        assert reading().log_e > 5, "all of the canary's units are wrong and none of the control's"
    finally:
        server.stop()
