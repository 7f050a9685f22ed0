"""A fault of Kedge's own in comparing pairs is said and counted, and the comparison goes on."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from typing import TYPE_CHECKING, Any

from kedge_testing import serving
from kedge_testing.trials import column, evidence, root

from kedge.kernel.select import select
from kedge.plane.contract import Arm, ArmRoute, Route, Shadow
from kedge.plane.portable import shadow_worker
from kedge.plane.portable.plane import PortablePlane

if TYPE_CHECKING:
    import pytest

compared = shadow_worker.compare


def test_pairs_that_cannot_be_compared_count_as_failed_and_the_others_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    served = serving.listen(PortablePlane, select("reference"), tmp_path)
    try:
        one, two = served.load(root(1)), served.load(root(2))
        served.publish(Route("root", 1, (ArmRoute(one, Arm.LIVE, 1.0),), shadow=Shadow(two, 1.0)))
        caller = serving.Caller(served.address)

        def counts() -> tuple[int, int]:
            found = evidence(served, Arm.SHADOW)
            return found.failed, found.compared

        with monkeypatch.context() as faulty:
            faulty.setattr(shadow_worker, "count_rows", lambda *_: {}["nothing"])
            for asked in (1, 2):
                caller.infer(serving.request("root", column(0.25)))
                serving.eventually(lambda asked=asked: counts() == (asked, 0))  # type: ignore[misc]
        caller.infer(serving.request("root", column(0.25)))
        serving.eventually(lambda: counts() == (2, 1))
        with monkeypatch.context() as faulty:
            faulty.setattr(shadow_worker, "compare", midway)
            caller.infer(serving.request("root", column(0.25)))
            serving.eventually(lambda: counts() == (3, 1))
    finally:
        served.plane.stop()
    said = [one.getMessage() for one in caplog.records if "cannot be compared" in one.getMessage()]
    assert len(said) == 2, "once for each fault"


def midway(words: Any, *rest: Any) -> None:
    compared(words, *rest)
    raise KeyError("after it was counted")
