"""A fault of Kedge's own in counting one bundle's answers is said, and the answers of others are counted."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from typing import TYPE_CHECKING, Any

from kedge_testing import serving
from kedge_testing.trials import answered, column, root

from kedge.kernel.select import select
from kedge.plane.contract import Arm, ArmRoute, Route
from kedge.plane.portable import observe, pipeline
from kedge.plane.portable.plane import PortablePlane

if TYPE_CHECKING:
    import pytest


def test_a_fault_in_counting_one_bundle_neither_loses_the_counts_of_another_nor_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pipeline, "_OBSERVE_EVERY", 3600.0)  # what is asked here is counted by what asks for counts
    counted, faulty = observe.count_rows, ""

    def sometimes(model: Any, *rest: Any) -> Any:
        return {}["nothing"] if model.handle.bundle == faulty else counted(model, *rest)

    monkeypatch.setattr(observe, "count_rows", sometimes)
    served = serving.listen(PortablePlane, select("reference"), tmp_path)
    try:
        one, two = served.load(root(1)), served.load(root(2))
        faulty = one.bundle
        served.publish(Route("root", 1, (ArmRoute(one, Arm.LIVE, 1.0),), pinned=(two,)))
        caller = serving.Caller(served.address)
        for _ in range(2):
            for version in ("1", "2"):
                caller.infer(serving.request("root", column(0.25), version=version))
            # that it was answered is counted before what it was answered
            assert answered(served, slice(0, 1)) in (2, 4)
        caller.infer(serving.request("root", column(*[0.25] * observe._MAX_ROWS), version="1"))
        assert answered(served) == 5
    finally:
        served.plane.stop()
    said = [record.getMessage() for record in caplog.records if "cannot be counted" in record.getMessage()]
    assert len(said) == 1, "once for each fault"
