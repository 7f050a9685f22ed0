from __future__ import annotations

import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from kedge.alerts.errors import AlertStoreError
from kedge.alerts.service import Alerts
from kedge.alerts.settings import parse
from kedge.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kedge_testing.receiver import Receiver

    from kedge.alerts.model import Finding, Origin

    Make = Callable[..., Finding]
    Start = Callable[..., Receiver]

WAIT = 60.0


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Callable[..., Alerts]]:
    started: list[Alerts] = []

    def start(url: str, timeout: float = 30.0, **settings: Any) -> Alerts:
        sink = {"name": "hook", "type": "webhook", "url": url, "timeout": timeout}
        config = parse({"sinks": [sink], "clear_after": 1, **settings}, "alerts")
        alerts = Alerts(config, tmp_path / "alerts.db", {}, random=lambda: 0.0)
        started.append(alerts)
        return alerts

    yield start
    for each in started:
        each.stop()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT
    while not true():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def test_a_finding_is_delivered_and_so_is_its_end(service: Any, receiver: Start, origin: Origin, finding: Make) -> None:
    server = receiver()
    alerts = service(server.url)
    alerts.start()
    alerts.observe(origin, "drift", [finding()])
    server.wait(lambda requests: len(requests) == 1)
    assert [alert.subject for alert in alerts.active()] == ["feature temp"]
    alerts.observe(origin, "drift", [])
    server.wait(lambda requests: len(requests) == 2)
    until(lambda: alerts.status()[0].delivered == 2)
    hook, log = alerts.status()
    assert (hook.name, hook.waiting, hook.oldest, hook.dropped, hook.refused) == ("hook", 0, 0.0, 0, 0)
    assert log.name == "log"
    assert alerts.stop()


def test_what_was_not_delivered_is_after_the_next_start(
    service: Any, receiver: Start, origin: Origin, finding: Make
) -> None:
    server = receiver()
    first = service(server.url)
    first.observe(origin, "drift", [finding()])
    key = first.fire(origin, finding("other"))
    assert first.status()[0].waiting == 2
    assert first.stop()
    second = service(server.url)
    second.start()
    requests = server.wait(lambda requests: len(requests) == 2)
    assert [each.body["data"]["subject"] for each in requests] == ["feature temp", "other"]
    assert second.resolve(key)
    second.retain([])
    assert second.active() == ()
    server.wait(lambda requests: len(requests) == 4)


def test_a_sink_that_never_answers_cannot_delay_the_end(
    service: Any, receiver: Start, origin: Origin, finding: Make
) -> None:
    release = threading.Event()
    server = receiver(lambda _n, _request: (release.wait(WAIT), (200, {}))[1])
    alerts = service(server.url, 0.5)
    alerts.start()
    alerts.observe(origin, "drift", [finding()])
    server.wait(lambda requests: len(requests) == 1)
    assert alerts.stop(), "ended before its server did"
    release.set()


def test_delivery_goes_on_after_the_database_recovers(
    service: Any, receiver: Start, origin: Origin, finding: Make, tmp_path: Path
) -> None:
    server = receiver()
    alerts = service(server.url)
    blocker = sqlite3.connect(tmp_path / "alerts.db", isolation_level=None)
    blocker.execute("CREATE TRIGGER full BEFORE DELETE ON alert_outbox BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    alerts.start()
    alerts.observe(origin, "drift", [finding()])
    requests = server.wait(lambda requests: len(requests) == 2)
    assert requests[0].body["id"] == requests[1].body["id"], "delivered, and not known to be: sent again"
    blocker.execute("DROP TRIGGER full")
    blocker.close()
    until(lambda: alerts.status()[0].waiting == 0)


def test_it_refuses_to_start_on_what_it_cannot_use(tmp_path: Path) -> None:
    (tmp_path / "bad.db").write_bytes(b"x" * 4096)
    with pytest.raises(AlertStoreError, match="cannot use"):
        Alerts(parse(None, "alerts"), tmp_path / "bad.db", {})
    secret = {"sinks": [{"name": "p", "type": "pagerduty", "routing_key": {"env": "NOT_SET"}}]}
    with pytest.raises(ConfigError, match="sink 'p': the secret in environment variable NOT_SET"):
        Alerts(parse(secret, "alerts"), tmp_path / "alerts.db", {})
    assert not (tmp_path / "alerts.db").exists()
