from __future__ import annotations

import sqlite3
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from kedge.alerts import manager as manager_module
from kedge.alerts.database import Database
from kedge.alerts.errors import AlertStoreError
from kedge.alerts.manager import AlertManager
from kedge.alerts.model import Cause, Kind, Notification, Severity, fingerprint
from kedge.alerts.outbox import Outbox
from kedge.alerts.routing import Router
from kedge.alerts.settings import parse

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Clock

    from kedge.alerts.model import Finding, Origin

    Make = Callable[..., Finding]

HOOK = {"name": "hook", "type": "webhook", "url": "https://h/"}
PAGER = {"name": "pager", "type": "webhook", "url": "https://p/"}
BOTH = {
    "sinks": [HOOK, PAGER],
    "routes": [{"sinks": ["hook"]}, {"severity": "critical", "sinks": ["pager"]}],
}


def make(database: Database, clock: Clock, section: object = None, **refresh: float) -> AlertManager:
    router = Router(parse(section if section is not None else {"sinks": [HOOK]}, "alerts"))
    return AlertManager(
        database,
        Outbox(database),
        router,
        refresh or {"log": 3600.0, "hook": 3600.0},
        clear_after=3,
        labels={"region": "eu"},
        clock=clock,
    )


def queued(database: Database) -> list[Notification]:
    rows = database.query("SELECT notification FROM alert_outbox ORDER BY id")
    return [Notification.model_validate_json(row[0]) for row in rows]


def told(database: Database) -> list[tuple[str, str]]:
    return [(message.sink, message.kind.value) for message in queued(database)]


def deliver_all(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute("DELETE FROM alert_outbox")


def test_a_problem_found_many_times_is_one_alert(
    database: Database, clock: Clock, origin: Origin, finding: Make
) -> None:
    alerts = make(database, clock)
    for _ in range(5):
        alerts.observe(origin, "drift", [finding(), finding()])
        clock.now += 1
    (alert,) = alerts.active()
    assert told(database) == [("hook", "firing")]
    assert alert.started == 1_000_000.0
    assert (alert.owner_kind, alert.owner) == ("data", "weather@x")
    assert alert.labels == {"region": "eu"}
    assert alert.key == fingerprint("flights", origin.bundle, Cause.INPUT_DRIFT, "feature temp")


def test_the_latest_words_are_kept(database: Database, clock: Clock, origin: Origin, finding: Make) -> None:
    alerts = make(database, clock)
    alerts.observe(origin, "drift", [finding(summary="temp drifted")])
    alerts.observe(origin, "drift", [finding(summary="temp drifted more\x1b")])
    assert alerts.active()[0].summary == "temp drifted more"
    alerts.observe(origin, "drift", [finding(summary="just a little", severity=Severity.INFO)])
    assert (alerts.active()[0].summary, alerts.active()[0].severity) == ("temp drifted more", Severity.WARNING)
    alerts.observe(origin, "drift", [finding("unsaid", summary="")])
    assert "unsaid: input-drift" in {alert.summary for alert in alerts.active()}, "PagerDuty refuses an empty one"


def test_an_alert_is_over_after_enough_clear_evaluations_in_a_row(
    database: Database, clock: Clock, origin: Origin, finding: Make
) -> None:
    alerts = make(database, clock)
    alerts.observe(origin, "drift", [finding()])
    for findings in ([], [], [finding()], [], []):
        alerts.observe(origin, "drift", findings)
        assert len(alerts.active()) == 1
    clock.now += 60
    alerts.observe(origin, "drift", [])
    assert alerts.active() == ()
    assert told(database) == [("hook", "firing"), ("hook", "resolved")]
    assert queued(database)[1].alert.ended == 1_000_060.0


def test_no_data_ends_no_alert(database: Database, clock: Clock, origin: Origin, finding: Make) -> None:
    alerts = make(database, clock)
    alerts.observe(origin, "drift", [finding()])
    for _ in range(10):
        alerts.observe(origin, "drift", [], judged={"feature wind"})
    assert len(alerts.active()) == 1
    for _ in range(3):
        alerts.observe(origin, "drift", [], judged={"feature wind", "feature temp"})
    assert alerts.active() == ()


def test_an_evaluator_ends_only_what_it_began(database: Database, clock: Clock, origin: Origin, finding: Make) -> None:
    alerts = make(database, clock)
    alerts.observe(origin, "drift", [finding()])
    alerts.fire(origin, finding("model", Severity.CRITICAL, Cause.ROLLBACK))
    for _ in range(5):
        alerts.observe(origin, "latency", [])
        alerts.observe(replace(origin, bundle="cd" * 32), "drift", [])
        alerts.observe(replace(origin, model="other"), "drift", [])
    assert len(alerts.active()) == 2
    for _ in range(3):
        alerts.observe(origin, "drift", [])
    assert [alert.cause for alert in alerts.active()] == [Cause.ROLLBACK]


def test_an_event_lasts_until_it_is_resolved(database: Database, clock: Clock, origin: Origin, finding: Make) -> None:
    alerts = make(database, clock)
    key = alerts.fire(origin, finding(cause=Cause.ROLLBACK))
    assert alerts.fire(origin, finding(cause=Cause.ROLLBACK)) == key
    alerts.retain(())
    assert [alert.key for alert in alerts.active()] == [key]
    assert alerts.resolve(key)
    assert not alerts.resolve(key)
    assert told(database) == [("hook", "firing"), ("hook", "resolved")]


def test_a_worse_finding_tells_everybody_at_once_and_a_milder_one_nobody(
    database: Database, clock: Clock, origin: Origin, finding: Make
) -> None:
    alerts = make(database, clock, BOTH, hook=3600.0, pager=3600.0)
    alerts.observe(origin, "drift", [finding()])
    alerts.observe(origin, "drift", [finding(severity=Severity.CRITICAL)])
    alerts.observe(origin, "drift", [finding(severity=Severity.WARNING)])
    alerts.observe(origin, "drift", [finding(severity=Severity.CRITICAL)])
    assert told(database) == [("hook", "firing"), ("hook", "escalated"), ("pager", "firing")]
    for _ in range(3):
        alerts.observe(origin, "drift", [])
    assert told(database)[3:] == [("hook", "resolved"), ("pager", "resolved")]


def test_of_two_findings_of_one_problem_the_worse_counts(
    database: Database, clock: Clock, origin: Origin, finding: Make
) -> None:
    for n, pair in enumerate(((Severity.WARNING, Severity.CRITICAL), (Severity.CRITICAL, Severity.WARNING))):
        alerts = make(database, clock)
        alerts.observe(origin, "drift", [finding(f"feature {n}", severity) for severity in pair])
        assert {alert.severity for alert in alerts.active()} == {Severity.CRITICAL}


def test_an_alert_that_goes_on_is_told_again_at_each_sinks_pace(
    database: Database, clock: Clock, origin: Origin, finding: Make
) -> None:
    both = {"sinks": [HOOK, PAGER]}
    alerts = make(database, clock, both, hook=60.0, pager=3600.0)
    alerts.observe(origin, "drift", [finding()])
    deliver_all(database)
    clock.now += 59
    alerts.tick()
    assert told(database) == []
    clock.now += 1
    alerts.tick()
    alerts.tick()
    assert told(database) == [("hook", "repeated")]
    clock.now += 3600
    alerts.tick()
    assert sorted(told(database)) == [("hook", "repeated"), ("pager", "repeated")]


def test_a_clock_that_was_set_back_silences_nothing(
    database: Database, clock: Clock, origin: Origin, finding: Make
) -> None:
    alerts = make(database, clock)
    alerts.observe(origin, "drift", [finding()])
    deliver_all(database)
    clock.now -= 86400
    alerts.tick()
    assert told(database) == [("hook", "repeated")]
    for _ in range(3):
        alerts.observe(origin, "drift", [])
    over = queued(database)[-1].alert
    assert over.ended == over.started, "an alert must not end before it began"


def test_alerts_under_way_survive_a_restart(tmp_path: Path, clock: Clock, origin: Origin, finding: Make) -> None:
    first = Database(tmp_path / "a.db")
    make(first, clock).observe(origin, "drift", [finding(), finding("feature wind", Severity.CRITICAL)])
    first.close()
    clock.now += 10
    second = Database(tmp_path / "a.db")
    alerts = make(second, clock)
    assert [alert.subject for alert in alerts.active()] == ["feature wind", "feature temp"]
    alerts.observe(origin, "drift", [finding(), finding("feature wind", Severity.CRITICAL)])
    alerts.tick()
    assert len(told(second)) == 2, "nobody is told twice because of a restart"
    for _ in range(3):
        alerts.observe(origin, "drift", [])
    assert [kind for _, kind in told(second)] == ["firing", "firing", "resolved", "resolved"]
    ids = [message.id for message in queued(second)]
    assert len(set(ids)) == 4
    second.close()


def test_a_sink_that_the_settings_add_hears_of_alerts_under_way(
    tmp_path: Path, clock: Clock, origin: Origin, finding: Make
) -> None:
    first = Database(tmp_path / "a.db")
    make(first, clock).observe(origin, "drift", [finding()])
    first.close()
    second = Database(tmp_path / "a.db")
    alerts = make(second, clock, {"sinks": [PAGER]}, pager=3600.0)
    alerts.tick()
    alerts.tick()
    assert told(second) == [("hook", "firing"), ("pager", "firing")]
    for _ in range(3):
        alerts.observe(origin, "drift", [])
    assert told(second)[2:] == [("pager", "resolved")]
    second.close()


def test_alerts_of_bundles_nobody_evaluates_any_more_end(
    database: Database, clock: Clock, origin: Origin, finding: Make
) -> None:
    alerts = make(database, clock)
    newer = replace(origin, bundle="cd" * 32)
    alerts.observe(origin, "drift", [finding()])
    alerts.observe(newer, "drift", [finding()])
    alerts.observe(replace(origin, model="kedge", bundle=""), "audit", [finding(cause=Cause.AUDIT)])
    alerts.retain({newer.bundle})
    assert {alert.bundle for alert in alerts.active()} == {newer.bundle, ""}


def test_a_problem_that_comes_back_is_a_new_episode(
    database: Database, clock: Clock, origin: Origin, finding: Make
) -> None:
    alerts = make(database, clock)
    for _ in range(2):
        alerts.observe(origin, "drift", [finding()])
        for _ in range(3):
            clock.now += 1
            alerts.observe(origin, "drift", [])
    messages = queued(database)
    assert [message.kind for message in messages] == [Kind.FIRING, Kind.RESOLVED] * 2
    assert len({message.id for message in messages}) == 4
    assert len({message.alert.key for message in messages}) == 1


def test_nothing_changes_when_it_cannot_be_written(tmp_path: Path, clock: Clock, origin: Origin, finding: Make) -> None:
    database = Database(tmp_path / "a.db")
    alerts = make(database, clock)
    alerts.observe(origin, "drift", [finding()])
    blocker = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    blocker.execute("CREATE TRIGGER full BEFORE INSERT ON alert_outbox BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    with pytest.raises(AlertStoreError, match=r"cannot write alerts to .*disk full"):
        alerts.observe(origin, "drift", [finding("feature wind")])
    assert [alert.subject for alert in alerts.active()] == ["feature temp"]
    assert database.query("SELECT count(*) FROM alert_active") == [(1,)]
    blocker.execute("DROP TRIGGER full")
    blocker.close()
    alerts.observe(origin, "drift", [finding("feature wind")])
    assert len(alerts.active()) == 2
    database.close()


def test_evaluations_without_news_write_nothing(
    database: Database, clock: Clock, origin: Origin, finding: Make
) -> None:
    alerts = make(database, clock)
    alerts.observe(origin, "drift", [finding()])
    (before,) = database.query("SELECT total_changes()")
    for findings in ([finding(summary="other words")], [], [], [finding()]):
        alerts.observe(origin, "drift", findings)
        alerts.tick()
    assert database.query("SELECT total_changes()") == [before]


def test_alerts_under_way_are_bounded(
    database: Database, clock: Clock, origin: Origin, finding: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager_module, "ACTIVE_LIMIT", 5)
    alerts = make(database, clock)
    for _ in range(2):
        alerts.observe(origin, "drift", [finding(f"feature {n}") for n in range(9)])
    assert len(alerts.active()) == 5
    key = alerts.fire(origin, finding("rollout", Severity.CRITICAL, Cause.ROLLBACK))
    assert alerts.active()[0].key == key, "a rollback pages, whatever drifts"


def test_several_threads_make_one_alert(database: Database, clock: Clock, origin: Origin, finding: Make) -> None:
    alerts = make(database, clock)
    barrier = threading.Barrier(4)

    def report() -> None:
        barrier.wait()
        for n in range(10):
            alerts.fire(origin, finding(f"feature {n}"))
            alerts.active()

    threads = [threading.Thread(target=report) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(alerts.active()) == 10
    assert told(database) == [("hook", "firing")] * 10


def test_a_file_of_another_version_or_of_nonsense_is_refused(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "a.db"
    Database(path).close()
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("INSERT INTO alert_active VALUES ('k', 'drift', '{}', 0, '{}')")
    database = Database(path)
    with pytest.raises(AlertStoreError, match="damaged"):
        make(database, clock)
    database.close()
    raw.execute("UPDATE alert_schema SET version = 99")
    raw.close()
    with pytest.raises(AlertStoreError, match="another Kedge: schema 99"):
        Database(path)
    (tmp_path / "b.db").write_bytes(b"no database" * 100)
    with pytest.raises(AlertStoreError, match=r"cannot use .*b\.db"):
        Database(tmp_path / "b.db")
    with pytest.raises(AlertStoreError, match="cannot use"):
        Database(tmp_path / "missing" / "a.db")
