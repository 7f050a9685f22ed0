"""The admin service over real gRPC: messages say what the values say, errors keep their code."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from kedge_testing import admins

from kedge.admin.access import Access, local_actor
from kedge.admin.messages import drift_message
from kedge.admin.service import AdminServer
from kedge.admin.watch import WATCHERS
from kedge.config import Address
from kedge.errors import BundleError, Code, ConfigError, RequestError
from kedge.monitor.report import Cell, Estimate, Fault, Line, Report
from kedge.monitor.verdict import Cause, Judgement, Span, Verdict
from kedge.proto import admin as pb
from kedge.rollout.live import NotLiveError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LINE = Line(
    subject="feature", name="temp", kind="numeric", verdict=Verdict.WARN, cause=Cause.DATA, test="drift",
    psi=0.2, js=0.1, w1=0.4, rise=0.05, p_value=1e-9, windows=2, psi_warn=0.1,
    psi_critical=0.25, natural_variation=0.05, rows=900, reference_rows=1000, reasons=("moved", "why"),
    faults=(Fault("missing", 0.5, 0.25),), cells=(Cell("[0, 1)", 900, 1000),),
)  # fmt: skip
REPORT = Report(
    "m", "1", "ab" * 32, 10.0, 20.0, 900, 1000, 542, 0.06, Verdict.WARN, (LINE,), Estimate(0.8, 0.01, 0.82, 900, True)
)


def judgement(name: str, verdict: Verdict, cause: Cause = Cause.NONE) -> Judgement:
    return Judgement(
        model="m", version="1", bundle="ab" * 32, arm="live", subject="feature", name=name, verdict=verdict,
        cause=cause, test="drift", effect=0.2, line=0.1, statistic=50.0, p_value=1e-9,
        windows=(Span(1.0, 2.0, 1000),), rows=1000,
        smallest_detectable=0.05, reasons=("moved",),
    )  # fmt: skip


class Standings:
    """An evaluator whose judgements are set from outside."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.version = 0
        self.items: tuple[Judgement, ...] = (judgement("temp", Verdict.OK), judgement("wind", Verdict.OK))

    def now(self, *items: Judgement) -> None:
        with self.changed:
            self.version, self.items = self.version + 1, items
            self.changed.notify_all()

    def wait(self, version: int, timeout: float) -> int:
        with self.changed:
            self.changed.wait_for(lambda: self.version != version, timeout)
            return self.version


class FakeView:
    """A view whose answers are given; everything between it and the client is real."""

    plane, kernel, kernel_isa, started = "portable", "numba", "llvm", 5.0

    def __init__(self) -> None:
        self.fail: Exception | None = None
        self.asked: tuple[str, float] | None = None
        self.evaluator = Standings()

    def clock(self) -> float:
        return 65.0

    def ready(self) -> bool:
        return True

    def totals(self) -> dict[Any, Any]:
        return {}

    def live(self, model: str = "") -> tuple[Any, ...]:
        if model == "x":
            raise NotLiveError("no model 'x' is live here; live: none")
        return ()

    def verdicts(self, model: str = "") -> tuple[Judgement, ...]:
        self.live(model)
        return self.evaluator.items

    def drift(self, model: str, since: float) -> Report:
        self.asked = (model, since)
        if self.fail:
            raise self.fail
        return REPORT


@pytest.fixture
def served(tmp_path: Path) -> Iterator[SimpleNamespace]:
    view: Any = FakeView()
    with admins.listening(tmp_path / "state", view=view) as port, port.client() as client:
        yield SimpleNamespace(view=view, port=port, client=client)


def test_a_report_arrives_whole(served: Any) -> None:
    got = served.client.drift("m", since=7.5)
    assert served.view.asked == ("m", 7.5)
    assert got == drift_message(REPORT)
    assert (got.model, got.rows, got.minimum_rows, got.verdict) == ("m", 900, 542, pb.WARN)
    (line,) = got.lines
    assert (line.name, line.psi, list(line.reasons)) == ("temp", 0.2, ["moved", "why"])
    assert (line.cause, line.test, line.windows, line.w1, line.rise) == (pb.DATA, "drift", 2, 0.4, 0.05)
    assert (got.estimate.accuracy, got.estimate.reference, got.estimate.enough) == (0.8, 0.82, True)
    assert (line.faults[0].kind, line.faults[0].share, line.faults[0].reference_share) == ("missing", 0.5, 0.25)
    assert (line.cells[0].label, line.cells[0].count, line.cells[0].reference_count) == ("[0, 1)", 900, 1000)


def test_every_verdict_has_its_number_on_the_wire() -> None:
    assert {verdict.value for verdict in Verdict} | {"VERDICT_UNSPECIFIED"} == set(pb.Verdict.keys())


def test_every_cause_has_its_number_on_the_wire() -> None:
    assert {cause.name for cause in Cause} | {"CAUSE_UNSPECIFIED"} == set(pb.Cause.keys())


def test_a_watcher_hears_everything_then_changes_then_what_is_gone(served: Any) -> None:
    standings = served.view.evaluator
    stream = served.client.watch()
    first = next(stream)
    assert first.complete
    assert [item.name for item in first.standings] == ["temp", "wind"]
    assert first.time == 65.0
    standings.now(judgement("temp", Verdict.WARN, Cause.DATA), judgement("wind", Verdict.OK))
    second = next(stream)
    assert not second.complete
    (item,) = second.standings
    assert (item.name, item.verdict, item.cause, item.effect, item.windows[0].rows) == (
        "temp",
        pb.WARN,
        pb.DATA,
        0.2,
        1000,
    )
    standings.now(judgement("wind", Verdict.OK))
    third = next(stream)
    assert third.complete
    assert [item.name for item in third.standings] == ["wind"]
    stream.close()


def test_a_stream_that_cannot_be_says_why(served: Any) -> None:
    with pytest.raises(RequestError, match="no model 'x' is live"):
        next(served.client.watch("x"))
    streams = [served.client.watch() for _ in range(WATCHERS)]
    for stream in streams:
        next(stream)
    with pytest.raises(RequestError, match="watch verdicts already") as refused:
        next(served.client.watch())
    assert refused.value.code is Code.RESOURCE_EXHAUSTED
    assert served.client.drift("m").model == "m", "questions have threads of their own"
    for stream in streams:
        stream.close()


def test_status_says_uptime_and_implementations(served: Any) -> None:
    status = served.client.status()
    assert (status.uptime_seconds, status.plane, status.kernel, status.kernel_isa) == (
        60.0,
        "portable",
        "numba",
        "llvm",
    )
    with pytest.raises(RequestError, match="no model 'x'") as refused:
        served.client.status("x")
    assert refused.value.code is Code.NOT_FOUND


def test_errors_keep_their_code_and_faults_tell_nothing(served: Any) -> None:
    served.view.fail = BundleError("no reference")
    with pytest.raises(RequestError, match="no reference") as refused:
        served.client.drift("m")
    assert refused.value.code is Code.INVALID_ARGUMENT
    served.view.fail = ZeroDivisionError("secret inside")
    with pytest.raises(RequestError) as failed:
        served.client.drift("m")
    assert failed.value.code is Code.INTERNAL
    assert "secret" not in str(failed.value)


def test_an_address_is_listened_on_by_one_server(served: Any) -> None:
    address, parts = served.port.server.address, served.port.parts
    with pytest.raises(ConfigError, match=f"--admin: cannot listen on {address}"):
        AdminServer(Address.parse(address), parts, Access(local=local_actor(unix=False)))
