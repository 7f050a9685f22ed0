"""What only the native plane does, or does its own way: evidence of many threads, and deadlines in its queues."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from kedge_testing import bundles, models, serving
from kedge_testing.trials import answered, column, evidence, root, split

from kedge import _dataplane
from kedge.bundle.manifest import Execution, Serving
from kedge.kernel.select import available, select
from kedge.plane import evidence as contract
from kedge.plane import limits
from kedge.plane.contract import Arm
from kedge.plane.native import NativePlane

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kedge.proto import inference as pb

pytestmark = pytest.mark.skipif("native" not in available(), reason="the native plane needs the native kernel")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[serving.Served]:
    one = serving.listen(lambda kernel: NativePlane(kernel, shards=2, isolate=False), select("native"), tmp_path)
    yield one
    one.plane.stop()


def test_words_lie_where_the_contract_says() -> None:
    layout = _dataplane.evidence_layout()
    counted = contract.Evidence(np.arange(contract.WORDS, dtype=np.int64))  # every word is its own place
    single = ("units", "offered", "dropped", "failed", "compared", "disagreed", "live_ns", "shadow_ns", "judged")
    expected = {name: getattr(counted, name) for name in single}
    expected |= {name: int(getattr(counted, name).flat[0]) for name in ("first_scores", "agreement", "differences")}
    expected["first_events"] = counted.first_events(contract.KINDS[0])
    expected["request_events"] = counted.request_events(contract.KINDS[0])
    expected["words"] = contract.WORDS
    expected["filter_bits"] = contract.FILTER_BITS
    expected["suspects"] = limits.SUSPECTS
    assert layout == expected


def test_a_key_is_one_unit_to_all_threads(served: serving.Served) -> None:
    one, two = served.load(root(1)), served.load(root(2))
    served.publish(split(one, two, 0.5))
    callers = [serving.Caller(served.address) for _ in range(4)]  # connections, spread over the shards
    calls = []
    for number in range(400):
        message = serving.request("root", column(0.25))
        message.parameters["kedge_key"].string_param = f"user-{number % 25}"
        calls.append(callers[number % 4].future(message))
    for call in calls:
        call.result()
    serving.eventually(lambda: answered(served) == 400)
    found = evidence(served, Arm.CANARY) + evidence(served, Arm.CONTROL)
    assert found.units == 25
    assert found.first_scores.sum() == 25


def test_a_deadline_in_the_queue_is_told_when_it_passes_not_when_the_queue_moves(served: serving.Served) -> None:
    pool = Serving(execution=Execution(mode="pool"))
    served.serve(bundles.Recipe(models.slow(), "slow", batchable=False, serving=pool))
    caller = serving.Caller(served.address)

    def ask(times: int) -> pb.ModelInferRequest:
        return serving.request("slow", ("times", "INT64", np.array([times], np.int64)))

    ended: list[grpc.Future] = []
    blocking = caller.future(ask(4000))
    blocking.add_done_callback(ended.append)
    caller.sent()
    message = ask(1)
    message.parameters["timeout"].int64_param = 100_000
    late = caller.future(message)
    late.add_done_callback(ended.append)
    assert late.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "deadline" in late.details()
    assert blocking.code() is grpc.StatusCode.OK
    serving.eventually(lambda: len(ended) == 2)
    assert ended == [late, blocking]
