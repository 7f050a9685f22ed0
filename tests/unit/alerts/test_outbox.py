from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from kedge.alerts.database import Database
from kedge.alerts.model import Alert, Cause, Kind, Notification, Severity
from kedge.alerts.outbox import Outbox

if TYPE_CHECKING:
    from pathlib import Path


def message(key: str, kind: Kind, sink: str = "hook", started: float = 1.0, number: int = 0) -> Notification:
    alert = Alert(
        key=key,
        model="flights",
        version="1",
        bundle="ab",
        cause=Cause.MISSING,
        subject=key,
        owner_kind="feature",
        owner="",
        severity=Severity.WARNING,
        summary=key,
        description="",
        labels={},
        started=started,
    )
    return Notification(id=f"{key}-{started}-{kind.value}-{number}", kind=kind, sink=sink, alert=alert)


def put(database: Database, outbox: Outbox, *messages: Notification) -> None:
    with database.transaction() as connection:
        for n, each in enumerate(messages):
            outbox.put(connection, each, 100.0 + n)


def held(database: Database) -> list[str]:
    rows = database.query("SELECT sink, key, kind FROM alert_outbox ORDER BY id")
    return [" ".join(row) for row in rows]


def test_messages_wait_in_order_within_a_lane(database: Database) -> None:
    outbox = Outbox(database)
    put(database, outbox, message("a", Kind.FIRING), message("b", Kind.FIRING), message("a", Kind.RESOLVED))
    heads = outbox.heads()
    assert [head.key for head in heads] == ["a", "b"]
    first = outbox.get(heads[0])
    assert first is not None
    assert first.kind is Kind.FIRING
    outbox.remove(heads[0])
    assert outbox.get(heads[0]) is None
    second = outbox.get(outbox.heads()[1])
    assert second is not None
    assert (second.alert.key, second.kind) == ("a", Kind.RESOLVED)


def test_messages_survive_the_process(tmp_path: Path) -> None:
    database = Database(tmp_path / "a.db")
    put(database, Outbox(database), message("a", Kind.FIRING))
    database.close()
    again = Database(tmp_path / "a.db")
    outbox = Outbox(again)
    assert outbox.get(outbox.heads()[0]) == message("a", Kind.FIRING)
    again.close()


def test_a_message_is_kept_only_if_its_transaction_is(database: Database) -> None:
    outbox = Outbox(database)

    def fail() -> None:
        with database.transaction() as connection:
            outbox.put(connection, message("a", Kind.FIRING), 1.0)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert outbox.heads() == []


@pytest.mark.parametrize(
    ("kinds", "left"),
    [
        ([Kind.REPEATED, Kind.REPEATED], ["hook a repeated"]),
        ([Kind.FIRING, Kind.REPEATED], ["hook a firing"]),
        ([Kind.REPEATED, Kind.RESOLVED], ["hook a resolved"]),
        ([Kind.REPEATED, Kind.ESCALATED], ["hook a escalated"]),
        ([Kind.ESCALATED, Kind.REPEATED], ["hook a escalated"]),
        ([Kind.FIRING, Kind.ESCALATED, Kind.RESOLVED], ["hook a firing", "hook a escalated", "hook a resolved"]),
    ],
)
def test_reminders_give_way(database: Database, kinds: list[Kind], left: list[str]) -> None:
    other = [message("b", Kind.REPEATED), message("a", Kind.REPEATED, "pager")]
    put(database, Outbox(database), *other, *(message("a", kind) for kind in kinds))
    assert held(database) == ["hook b repeated", "pager a repeated", *left]


def test_of_two_reminders_the_newer_is_kept(database: Database) -> None:
    outbox = Outbox(database)
    put(database, outbox, message("a", Kind.REPEATED, number=1), message("a", Kind.REPEATED, number=2))
    assert outbox.get(outbox.heads()[0]) == message("a", Kind.REPEATED, number=2)


def test_when_full_reminders_go_first_then_what_is_over_then_the_oldest(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = Outbox(database, limit=5)
    put(
        database,
        outbox,
        message("old", Kind.FIRING),
        message("over", Kind.FIRING),
        message("over", Kind.RESOLVED),
        message("over", Kind.FIRING, started=2.0),
        message("new", Kind.REPEATED),
    )
    put(database, outbox, message("x", Kind.FIRING))
    assert outbox.dropped() == {}, "a reminder that goes is no loss"
    assert held(database) == ["hook old firing", "hook over firing", "hook over resolved", "hook over firing",
                              "hook x firing"]  # fmt: skip
    with caplog.at_level(logging.ERROR):
        put(database, outbox, message("y", Kind.FIRING))
    assert held(database) == ["hook old firing", "hook over firing", "hook x firing", "hook y firing"]
    assert outbox.dropped() == {"hook": 2}
    assert caplog.records[0].__dict__["data"] == {
        "sink": "hook", "n": 2, "reason": "the outbox is full, and this alert is over"
    }  # fmt: skip
    put(database, outbox, message("z", Kind.FIRING), message("old", Kind.RESOLVED))
    assert outbox.dropped() == {"hook": 4}, "an alert that came and went unheard while the outbox is full"
    assert held(database) == ["hook over firing", "hook x firing", "hook y firing", "hook z firing"]


def test_the_oldest_goes_where_nothing_is_over(database: Database) -> None:
    outbox = Outbox(database, limit=2)
    put(database, outbox, *(message(key, Kind.FIRING) for key in "abcd"))
    assert held(database) == ["hook c firing", "hook d firing"]
    assert outbox.dropped() == {"hook": 2}


def test_one_sinks_bound_is_not_anothers(database: Database) -> None:
    outbox = Outbox(database, limit=3)
    put(database, outbox, message("a", Kind.FIRING, "pager"))
    put(database, outbox, *(message(str(n), Kind.FIRING) for n in range(10)))
    assert outbox.waiting() == {"hook": (3, 107.0), "pager": (1, 100.0)}


def test_what_waits_for_a_sink_that_is_gone_is_dropped_and_counted(database: Database) -> None:
    outbox = Outbox(database)
    put(
        database,
        outbox,
        message("a", Kind.FIRING),
        message("a", Kind.FIRING, "gone"),
        message("b", Kind.FIRING, "gone"),
    )
    outbox.keep_only({"hook": object()})
    assert held(database) == ["hook a firing"]
    assert outbox.dropped() == {"gone": 2}
