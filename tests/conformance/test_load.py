"""The load generator and a plane count the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from kedge_testing import bundles, models
from kedge_testing.serving import Caller, Served, eventually, request

from kedge.client import Client
from kedge.load import Labels, Plan, messages, random_rows, run
from kedge.plane import token
from kedge.plane.contract import TokenKey, Tokens
from kedge.plane.token import unseal
from kedge.proto import inference as pb

if TYPE_CHECKING:
    from collections.abc import Callable

pytest.importorskip("kedge._load", reason="this build has no load generator")

KEY = TokenKey(3, bytes(range(16)))


def answered(caller: Caller, model: str) -> int:
    found = caller.call("ModelStatistics", pb.ModelStatisticsRequest(name=model), pb.ModelStatisticsResponse)
    return sum(one.inference_stats.success.count for one in found.model_stats)


@pytest.mark.parametrize("rows", [1, 5])
def test_every_request_is_counted_once_on_both_sides(served: Served, caller: Caller, rows: int) -> None:
    with Client(served.address) as client:
        metadata = client.metadata("add")
    made = messages(metadata, random_rows(metadata, 1, 100), rows_per_request=rows, seed=1)
    before = answered(caller, "add")
    report = run(served.address, made, Plan(rate=1000, duration=0.3, connections=3))
    assert report.statuses == {"OK": report.planned}
    assert not report.failures
    assert [one.version for one in report.origins] == ["1.2.0"]
    assert report.origins[0].bundle in served.bundles
    eventually(lambda: answered(caller, "add") >= before + report.ok)  # counted after the answer has left
    assert answered(caller, "add") == before + report.ok


def test_refusals_have_their_codes(served: Served) -> None:
    x = np.zeros((1, 4), np.float32)
    wrong = [
        request("add", ("a", "FP32", x), ("b", "FP32", x), version="9"),
        request("nobody", ("a", "FP32", x)),
        request("add", ("a", "FP32", x)),
        request("add", ("a", "FP32", x), ("b", "FP32", x)),
    ]
    sent = [message.SerializeToString() for message in wrong]
    report = run(served.address, sent, Plan(closed=4, requests=400, connections=2))
    assert report.statuses == {"NOT_FOUND": 200, "INVALID_ARGUMENT": 100, "OK": 100}
    assert "add" in report.texts["INVALID_ARGUMENT"]


def test_a_full_queue_sheds_and_a_deadline_passes(served: Served) -> None:
    rows = request("short-queue", ("x", "FP32", np.zeros((1, 1), np.float32))).SerializeToString()
    report = run(served.address, [rows], Plan(closed=32, requests=200, duration=30))
    assert set(report.statuses) == {"OK", "RESOURCE_EXHAUSTED"}
    assert sum(report.statuses.values()) == report.planned == 200
    slow = request("slow", ("times", "INT64", np.array([2000], np.int64))).SerializeToString()
    late = run(served.address, [slow], Plan(closed=4, requests=12, deadline=0.005))
    assert late.statuses.keys() & {"DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"}  # in the queue, or because of it
    assert late.good == 0 or late.good <= late.ok
    assert late.answered == late.planned == 12


def test_prediction_ids_come_back_for_their_labels(listen: Callable[..., Served]) -> None:
    served = listen(tokens=Tokens(KEY, boot=1))
    served.serve(bundles.Recipe(models.plus(1), "plus"))
    made = [request("plus", ("x", "FP32", np.full((1, 1), n, np.float32))).SerializeToString() for n in range(3)]
    got: list[tuple[str, int]] = []
    report = run(served.address, made, Plan(closed=2, requests=30), labels=Labels(1.0, got.extend))
    assert report.ok == 30
    assert sorted(at for _, at in got) == sorted([0, 1, 2] * 10)
    assert (unseal([text for text, _ in got], (KEY,))["status"] == token.VALID).all()
    assert len({text for text, _ in got}) == 30
    some: list[tuple[str, int]] = []
    run(served.address, made, Plan(closed=2, requests=600, seed=1), labels=Labels(0.25, some.extend))
    assert 90 < len(some) < 210
