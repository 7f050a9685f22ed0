"""A request whose turn would come after its deadline is shed at once; one with time enough waits."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import grpc
import numpy as np
from kedge_testing import bundles, models
from kedge_testing.serving import Caller, Served, request

from kedge.bundle.manifest import Execution, Serving

if TYPE_CHECKING:
    from collections.abc import Callable

    from kedge.proto import inference as pb

BUSY, BLOCKING = 100, 4000
"""Loops: some milliseconds, and for as long as a test needs."""


def slow(times: int, timeout_us: int = 0) -> pb.ModelInferRequest:
    message = request("slow", ("times", "INT64", np.array([times], np.int64)))
    if timeout_us:
        message.parameters["timeout"].int64_param = timeout_us
    return message


def calling(listen: Callable[..., Served]) -> Caller:
    served = listen()
    pool = Serving(execution=Execution(mode="pool"))
    served.serve(bundles.Recipe(models.slow(), "slow", batchable=False, serving=pool))
    return Caller(served.address)


def test_what_would_come_too_late_is_shed_at_once(listen: Callable[..., Served]) -> None:
    caller = calling(listen)
    start = time.monotonic()
    for _ in range(8):
        caller.infer(slow(BUSY))
    run_us = int(1e6 * (time.monotonic() - start) / 8)
    blocking = [caller.future(slow(BLOCKING)) for _ in range(2)]
    waiting = [caller.future(slow(1)) for _ in range(8)]
    caller.sent()
    code, text = caller.refusal(slow(1, timeout_us=run_us))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert text == "the queue of model 'slow' is too long for the deadline; try again later"
    patient = caller.future(slow(1, timeout_us=60_000_000))
    for call in (*blocking, *waiting, patient):
        assert call.code() is grpc.StatusCode.OK


def test_one_with_a_deadline_runs_where_nobody_is_before_it(listen: Callable[..., Served]) -> None:
    """However long runs took before: only a run can tell that they have become faster."""
    caller = calling(listen)
    caller.infer(slow(BLOCKING))
    codes = []
    for _ in range(3):
        try:
            caller.infer(slow(1, timeout_us=30_000))
        except grpc.RpcError as error:
            codes.append(error.code())
            caller.infer(slow(1))  # the one that came too late may wait still: it runs before this
    assert grpc.StatusCode.RESOURCE_EXHAUSTED not in codes
