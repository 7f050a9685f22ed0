"""What a verdict is called as an alert, and whose it becomes."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from kedge_testing.serving import eventually

from kedge.alerts.model import Cause, Severity
from kedge.alerts.routing import OWNER_OF
from kedge.alerts.service import Alerts
from kedge.alerts.settings import parse
from kedge.app_alerts import WAITING, RolloutAlerts, finding, tell_of_log
from kedge.bundle.manifest import Owners
from kedge.bundle.store import BundleNotFoundError
from kedge.monitor import verdict as v
from kedge.rollout.notice import Notice
from kedge.rollout.states import State
from kedge.rollout.values import BundleState

if TYPE_CHECKING:
    from collections.abc import Iterator


def judgement(
    subject: v.Subject, cause: v.Cause, test: str, verdict: v.Verdict = v.Verdict.WARN, *reasons: str
) -> v.Judgement:
    return v.Judgement(
        model="flights", version="1.0.0", bundle="ab" * 32, arm="canary", subject=subject, name="temp",
        verdict=verdict, cause=cause, test=test, effect=0.5, line=0.1, statistic=9.0, p_value=0.0, windows=(),
        rows=1000, smallest_detectable=0.1, reasons=reasons,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("subject", "cause", "test", "expected", "owner"),
    [
        ("feature", v.Cause.DATA, "drift", Cause.INPUT_DRIFT, "data"),
        ("feature", v.Cause.DATA, "chart", Cause.INPUT_DRIFT, "data"),
        ("feature", v.Cause.PIPELINE, "missing", Cause.MISSING, "feature"),
        ("feature", v.Cause.PIPELINE, "invalid", Cause.INVALID, "feature"),
        ("feature", v.Cause.PIPELINE, "unseen", Cause.UNSEEN, "feature"),
        ("feature", v.Cause.PIPELINE, "out of range", Cause.OUT_OF_RANGE, "feature"),
        ("feature", v.Cause.PIPELINE, "unit", Cause.PIPELINE, "feature"),
        ("prediction", v.Cause.PIPELINE, "drift", Cause.PIPELINE, "feature"),
        ("prediction", v.Cause.DATA, "drift", Cause.INPUT_DRIFT, "data"),
        ("prediction", v.Cause.MODEL, "drift", Cause.PREDICTION_DRIFT, "model"),
        ("score", v.Cause.MODEL, "out of range", Cause.PREDICTION_DRIFT, "model"),
        ("confidence", v.Cause.MODEL, "drift", Cause.CONFIDENCE, "model"),
        ("system", v.Cause.SYSTEM, "errors", Cause.ERRORS, "platform"),
        ("system", v.Cause.SYSTEM, "latency", Cause.LATENCY, "platform"),
        ("system", v.Cause.PIPELINE, "refusals", Cause.SCHEMA, "feature"),
    ],
)
def test_every_verdict_has_a_name_and_an_owner(
    subject: v.Subject, cause: v.Cause, test: str, expected: Cause, owner: str
) -> None:
    found = finding(judgement(subject, cause, test))
    assert (found.cause, OWNER_OF[found.cause]) == (expected, owner)
    assert found.subject == f"canary {subject} temp"


def test_the_strongest_reason_leads_and_all_are_told() -> None:
    found = finding(judgement("feature", v.Cause.DATA, "drift", v.Verdict.CRITICAL, "mean 1 -> 2", "share of 'a': 3 %"))
    assert found.severity is Severity.CRITICAL
    assert found.summary == "flights 1.0.0 (canary): feature temp: mean 1 -> 2"
    assert found.description == "mean 1 -> 2\nshare of 'a': 3 %"


def test_a_verdict_without_reasons_names_its_test() -> None:
    found = finding(judgement("feature", v.Cause.DATA, "drift"))
    assert found.severity is Severity.WARNING
    assert (found.summary, found.description) == ("flights 1.0.0 (canary): feature temp: drift", "drift")


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[tuple[RolloutAlerts, Alerts]]:
    """Where notices go in, and the alerts they become; who owns the bundle is asked of a view."""
    owners = Owners(model="team-late@x")
    view: Any = SimpleNamespace(bundle=lambda _: SimpleNamespace(manifest=SimpleNamespace(owners=owners)))
    alerts = Alerts(parse({}, "alerts"), tmp_path / "alerts.db", {})
    notices = RolloutAlerts()
    notices.start(view, alerts)
    yield notices, alerts
    notices.stop()
    alerts.stop()


def test_a_rollback_pages_until_somebody_has_cleared_it(pages: tuple[RolloutAlerts, Alerts]) -> None:
    notices, alerts = pages
    bundle = BundleState("ab" * 32, "flights", "3.0.0", State.QUARANTINED, 1.0, "")
    notices.tell(Notice("rolled back", bundle, "invalid outputs: 44 of 44"))
    eventually(lambda: len(alerts.active()) == 1)
    (alert,) = alerts.active()
    assert (alert.cause, alert.severity, alert.owner) == (Cause.ROLLBACK, Severity.CRITICAL, "team-late@x")
    assert alert.summary == "flights 3.0.0 rolled back: invalid outputs: 44 of 44"
    notices.tell(Notice("cleared", bundle, "cleared by ann"))
    eventually(lambda: alerts.active() == ())


def test_a_rollback_on_a_full_disk_pages_once_there_is_room(pages: tuple[RolloutAlerts, Alerts]) -> None:
    notices, alerts = pages
    database = alerts._database._connection
    (size,) = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count = {size}")
    bundle = BundleState("ab" * 32, "flights", "3.0.0", State.QUARANTINED, 1.0, "")
    notices.tell(Notice("rolled back", bundle, "words " * 1300))
    notices.tell(Notice("held", bundle, "behind it"))
    with pytest.raises(AssertionError):
        eventually(lambda: alerts.active() != (), 0.3)
    database.execute("PRAGMA max_page_count = 100000")
    eventually(lambda: len(alerts.active()) == 2)


def test_notices_that_wait_are_bounded_and_the_newest_of_each_kind_stays(caplog: pytest.LogCaptureFixture) -> None:
    notices = RolloutAlerts()
    flights, other = (BundleState(f"{name}" * 32, "flights", "3", State.CANARY, 1.0, "") for name in ("ab", "cd"))
    notices.tell(Notice("rolled back", other, "the page that matters"))
    for number in range(2 * WAITING):
        notices.tell(Notice("held", flights, str(number)))
    waiting = list(notices._news)
    assert len(waiting) == WAITING
    assert notices.dropped == WAITING + 1
    assert waiting[0].words == "the page that matters"
    assert [one.words for one in waiting[1:]] == [str(number) for number in range(WAITING + 1, 2 * WAITING)]
    notices.tell(Notice("cleared", other, "the oldest goes where there is none like it"))
    assert (waiting[1:], waiting[0] in notices._news) == (list(notices._news)[:-1], False)
    assert "notices are dropped: 1 so far" in caplog.text


def test_a_rollout_that_waits_for_a_person_warns(pages: tuple[RolloutAlerts, Alerts]) -> None:
    notices, alerts = pages
    bundle = BundleState("ab" * 32, "flights", "3.0.0", State.CANARY, 1.0, "")
    for _ in range(3):
        notices.tell(Notice("held", bundle, "waiting for a person to say 'promote'"))
    notices.stop()
    (alert,) = alerts.active()
    assert (alert.cause, alert.severity) == (Cause.CANARY, Severity.WARNING)


def test_a_rollout_held_twice_pages_twice_and_is_quiet_once_it_went_on(pages: tuple[RolloutAlerts, Alerts]) -> None:
    notices, alerts = pages
    bundle = BundleState("ab" * 32, "flights", "3.0.0", State.CANARY, 1.0, "")

    def told(notice: Notice, under_way: list[Cause]) -> float:
        notices.tell(notice)
        eventually(lambda: [alert.cause for alert in alerts.active()] == under_way)
        return max((alert.started for alert in alerts.active()), default=0.0)

    first = told(Notice("held", bundle, "step 1 waits for a yes"), [Cause.CANARY])
    told(Notice("went on", bundle, "to step 2, by ann"), [])
    assert told(Notice("held", bundle, "step 2 waits for a yes"), [Cause.CANARY]) > first, "a page of its own"
    told(Notice("rolled back", bundle, "invalid outputs"), [Cause.ROLLBACK])
    told(Notice("went on", bundle, "nothing of a rollback"), [Cause.ROLLBACK])


def test_a_bundle_that_is_deleted_before_its_page_holds_up_no_other(tmp_path: Path) -> None:
    """On a full disk a page waits, and what was rolled back is deleted to make room."""

    def gone(identity: str) -> None:
        raise BundleNotFoundError(f"no bundle '{identity}' in the store")

    view: Any = SimpleNamespace(bundle=gone)
    alerts = Alerts(parse({}, "alerts"), tmp_path / "alerts.db", {})
    notices = RolloutAlerts()
    for name in ("ab", "cd"):
        notices.tell(Notice("rolled back", BundleState(name * 32, "flights", "3", State.QUARANTINED, 1.0, ""), "harm"))
    notices.start(view, alerts)
    eventually(lambda: len(alerts.active()) == 2)
    notices.stop()
    alerts.stop()


def test_an_audit_log_that_cannot_be_written_pages_who_answers_for_it_until_it_can(tmp_path: Path) -> None:
    owners = Owners(compliance="audit@x")
    manifest = SimpleNamespace(name="flights", version="1.0.0", owners=owners)
    live = SimpleNamespace(bundle=SimpleNamespace(id="ab" * 32, manifest=manifest))
    view: Any = SimpleNamespace(rollouts=SimpleNamespace(live=lambda: (live,)))
    alerts = Alerts(parse({}, "alerts"), tmp_path / "alerts.db", {})
    tell_of_log(view, alerts, "record 7 is not what was written")
    (alert,) = alerts.active()
    assert (alert.cause, alert.severity, alert.owner) == (Cause.AUDIT, Severity.CRITICAL, "audit@x")
    assert "record 7 is not what was written" in alert.summary
    tell_of_log(view, alerts, "")
    assert alerts.active() == ()
    alerts.stop()
