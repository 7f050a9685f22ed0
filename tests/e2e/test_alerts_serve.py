"""Alerts of a real server: drifting traffic reaches the owner that the bundle names, once, also after a restart."""

from __future__ import annotations

import json
import signal
import sqlite3
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kedge_testing import flights
from kedge_testing.receiver import Received, Receiver
from kedge_testing.serving import eventually

from kedge.build import build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OWNERS = "owners: {data: weather@example.com, feature: features@example.com, model: models@example.com}\n"


@pytest.fixture(scope="module")
def owned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose manifest names owners."""
    root = tmp_path_factory.mktemp("owned")
    flights.bundle(root)
    spec = root / "flights-1.0.0.yaml"
    spec.write_text(spec.read_text() + OWNERS)
    build(spec, root / "owned.kedge")
    return root / "owned.kedge"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    yield server
    server.close()


@pytest.fixture
def start(serve: Any, owned: Path, tmp_path: Path, receiver: Receiver) -> Callable[[], Any]:
    """Serve the bundle with the receiver as the only sink."""
    file = tmp_path / "kedge.yaml"
    section = {"clear_after": 1, "sinks": [{"name": "hook", "type": "webhook", "url": receiver.url}]}
    file.write_text(json.dumps({"alerts": section}))
    return lambda: serve("--config", file, "--bundle", owned)


def told(kind: str, subject: str) -> Callable[[list[Received]], bool]:
    return lambda requests: bool(find(requests, kind, subject))


def find(requests: list[Received], kind: str, subject: str) -> list[dict[str, Any]]:
    bodies = [each.body for each in requests]
    return [
        body["data"]
        for body in bodies
        if body["type"] == f"kedge.v1.alert.{kind}" and body["data"]["subject"] == subject
    ]


def test_a_drift_is_told_to_its_owner_once_and_its_end_too(
    start: Callable[[], Any], kedge: Any, receiver: Receiver, tmp_path: Path
) -> None:
    server = start()

    def send(table: pa.Table) -> None:
        path = tmp_path / "rows.parquet"
        pq.write_table(table, path)
        done = kedge("predict", "flights", "--input", path, "--server", server.grpc, "--batch", "500", "--json")
        assert done.status == 0, done.err

    def send_until(seed: int, temp: float, enough: Callable[[list[Received]], bool]) -> None:
        """A window is closed by a look, once a second: how many of them some rows fill depends on the machine."""
        for more in range(20):
            if enough(receiver.requests):
                return
            send(flights.rows(1000, seed + more, temp=temp))
        receiver.wait(enough)

    send_until(100, 75.0, told("firing", "live feature temp"))
    (drift,) = find(receiver.requests, "firing", "live feature temp")
    assert (drift["cause"], drift["owner_kind"], drift["owner"]) == ("input-drift", "data", "weather@example.com")
    assert (drift["model"], drift["version"], drift["severity"]) == ("flights", "1.0.0", "critical")
    assert drift["bundle"] == server.ready["models"][0]["bundle"]
    assert drift["summary"].startswith("flights 1.0.0 (live): feature temp: distribution moved up: mean ")

    server.signal(signal.SIGTERM)
    assert server.end() == 0
    server = start()
    broken = flights.rows(1500, 2)
    send(broken.set_column(0, "temp", pa.array(np.full(1500, np.nan, np.float32))))
    missing = find(receiver.wait(lambda r: len(find(r, "firing", "live feature temp")) == 2), "firing",
                   "live feature temp")[1]  # fmt: skip
    assert (missing["cause"], missing["owner"]) == ("missing", "features@example.com")
    assert missing["description"].startswith("missing share ")

    send_until(200, 40.0, lambda r: len(find(r, "resolved", "live feature temp")) == 2)
    ended = find(receiver.requests, "resolved", "live feature temp")
    assert {(each["cause"], each["key"]) for each in ended} == {
        (each["cause"], each["key"]) for each in (drift, missing)
    }
    assert len(find(receiver.requests, "firing", "live feature temp")) == 2, "the restart was no new alert"
    assert len({each.body["id"] for each in receiver.requests}) == len(receiver.requests)


def test_a_database_that_refuses_alerts_does_not_end_evaluation(
    start: Callable[[], Any], kedge: Any, receiver: Receiver, tmp_path: Path
) -> None:
    server = start()
    blocker = sqlite3.connect(tmp_path / "state" / "alerts.db", isolation_level=None)
    blocker.execute("CREATE TRIGGER full BEFORE INSERT ON alert_outbox BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    path = tmp_path / "rows.parquet"
    table = flights.rows(1500, 3)
    pq.write_table(table.set_column(0, "temp", pa.array(np.full(1500, np.nan, np.float32))), path)
    assert kedge("predict", "flights", "--input", path, "--server", server.grpc, "--json").status == 0
    eventually(lambda: "verdicts do not become alerts for now" in server.log.read_text())
    line = kedge("drift", "flights", "--admin", server.admin, "--json").json["lines"][0]
    assert (line["name"], line["verdict"]) == ("temp", "CRITICAL")
    assert receiver.requests == []
    assert "Traceback" not in server.log.read_text()
    blocker.execute("DROP TRIGGER full")
    blocker.close()
    receiver.wait(told("firing", "live feature temp"))


def test_alerts_that_are_set_wrong_stop_the_start_by_file_and_key(kedge: Any, tmp_path: Path) -> None:
    file = tmp_path / "kedge.yaml"
    file.write_text("alerts: {sinks: [{name: hook, type: webhook, url: 'https://h/', token: hunter2}]}\n")
    done = kedge("serve", "--state", tmp_path / "state", "--config", file)
    assert done.status == 2
    where = done.err.replace("\n", "")
    assert f"{file}: alerts.sinks[0].token: a secret is never written here" in where
    assert "hunter2" not in done.out + done.err
    assert not (tmp_path / "state").exists(), "nothing was made before the settings were known to be right"
