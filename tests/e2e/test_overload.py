"""Asked for twice what it can do, a server sheds with a status of its own, loses nothing, and goes on."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from kedge_testing.serving import eventually, request

from kedge.client import AdminClient
from kedge.proto import health

if TYPE_CHECKING:
    from kedge.load import Report

load = pytest.importorskip("kedge.load", reason="this build has no load generator")

OK, LATE, SHED = 0, 4, 8
ORDINARY, HOT = 40.0, 1200.0
"""Temperatures of a row that takes no time, and of one that keeps the model busy for about 10 ms."""


def flight(temp: float) -> bytes:
    columns = (
        ("temp", "FP32", temp, np.float32),
        ("distance", "FP32", 200, np.float32),
        ("carrier", "BYTES", b"UA", object),
    )
    inputs = [(name, kind, np.array([[value]], dtype)) for name, kind, value, dtype in columns]
    return request("flights", *inputs).SerializeToString()


@pytest.mark.parametrize("plane", ["native", "portable"])
def test_at_twice_what_it_can_do_it_sheds_and_goes_on(plane: str, serve: Any, bundles: Any) -> None:
    if plane == "native":
        pytest.importorskip("kedge._dataplane", reason="this build has no native plane")
    server = serve("--plane", plane, "--bundle", bundles(slow=True, alone=True))
    best = load.run(server.grpc, [flight(HOT)], load.Plan(closed=4, requests=40))
    assert best.statuses == {"OK": 40}

    over: list[Report] = []
    # Twice that twice: what else ran on the machine may have halved the best, and be gone by now.
    plan = load.Plan(rate=4 * best.rate, duration=1.0, deadline=0.1, streams=1024)
    overload = threading.Thread(target=lambda: over.append(load.run(server.grpc, [flight(HOT)], plan)))
    overload.start()
    with grpc.insecure_channel(server.grpc) as channel:
        answer = health.HealthCheckResponse.FromString
        check = channel.unary_unary("/grpc.health.v1.Health/Check", response_deserializer=answer)
        asked = 0
        while overload.is_alive() or not asked:
            assert check(b"", timeout=20).status == health.HealthCheckResponse.SERVING
            asked += 1
            overload.join(0.05)
    (report,) = over
    assert report.statuses.keys() <= {"OK", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}
    assert report.statuses["OK"] > 0
    assert report.statuses["RESOURCE_EXHAUSTED"] > 0
    assert "is too long for the deadline" in report.texts["RESOURCE_EXHAUSTED"]
    assert report.answered == report.sent
    assert report.failures.keys() <= {"expired"}  # a generator that was not given the processor for so long

    again = load.run(server.grpc, [flight(ORDINARY)], load.Plan(closed=1, requests=1))
    assert again.statuses == {"OK": 1}
    # more than gRPC's own core would keep waiting for a process that is busy
    crowd = load.run(server.grpc, [flight(ORDINARY)], load.Plan(closed=1500, requests=1500))
    assert crowd.statuses == {"OK": 1500}

    with AdminClient(server.admin) as admin:

        def counted() -> dict[int, int]:
            return {code: count for code, count in admin.status().models[0].requests.items() if count}

        eventually(lambda: sum(counted().values()) == 40 + report.answered + 1 + 1500)
        assert counted().keys() <= {OK, LATE, SHED}
