"""Alerts in the real Prometheus Alertmanager."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.request
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from kedge.alerts.model import Cause, Finding, Origin, Severity
from kedge.alerts.service import Alerts
from kedge.alerts.settings import parse
from kedge.bundle.manifest import Owners

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PROGRAM = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
WAIT = 60.0
T = TypeVar("T")
CONFIG = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"
ORIGIN = Origin("flights", "1.0.0", "ab" * 32, Owners(data="weather@example.com"))

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="Debian's prometheus-alertmanager is not installed")


def until(ask: Callable[[], T | None]) -> T:
    deadline = time.monotonic() + WAIT
    while True:
        if (answer := ask()) is not None:
            return answer
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)


class Alertmanager:
    """A process of its own, on a free port that it keeps."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._starts = 0
        self._process: subprocess.Popen[bytes] | None = None
        self.address = "127.0.0.1:0"
        (directory / "alertmanager.yml").write_text(CONFIG)

    def start(self) -> None:
        self._starts += 1
        log = self._directory / f"alertmanager-{self._starts}.log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [str(PROGRAM), f"--config.file={self._directory / 'alertmanager.yml'}",
                 f"--storage.path={self._directory / 'data'}", f"--web.listen-address={self.address}",
                 "--cluster.listen-address="],
                stdout=output, stderr=output,
            )  # fmt: skip
        listening = re.compile(r'msg="?Listening on"? address=(\S+)')

        def address() -> str | None:
            assert self._process is not None
            assert self._process.poll() is None, log.read_text()
            found = listening.search(log.read_text())
            return found[1] if found else None

        self.address = until(address)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(WAIT)
            self._process = None

    def alerts(self) -> dict[str, dict[str, Any]]:
        """Those that go on, by subject and severity."""
        with urllib.request.urlopen(f"http://{self.address}/api/v2/alerts", timeout=30) as answer:
            return {f"{each['labels']['subject']} {each['labels']['severity']}": each for each in json.load(answer)}


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[Alertmanager]:
    made = Alertmanager(tmp_path)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def alerts(alertmanager: Alertmanager, tmp_path: Path) -> Iterator[Alerts]:
    sink = {"name": "am", "type": "alertmanager", "url": f"http://{alertmanager.address}", "refresh": 1}
    section = {"clear_after": 2, "labels": {"region": "eu"}, "external_url": "http://kedge.example.com:8002",
               "sinks": [sink]}  # fmt: skip
    made = Alerts(parse(section, "alerts"), tmp_path / "alerts.db", {})
    made.start()
    yield made
    assert made.stop()


def drift(subject: str, severity: Severity = Severity.WARNING) -> Finding:
    return Finding(Cause.INPUT_DRIFT, subject, severity, f"{subject} drifted", "mean 3 -> 20")


def shown(alertmanager: Alertmanager, *names: str) -> dict[str, dict[str, Any]]:
    def ask() -> dict[str, dict[str, Any]] | None:
        now = alertmanager.alerts()
        return now if set(now) == set(names) else None

    return until(ask)


def test_an_alert_appears_for_its_owner_and_is_resolved(alertmanager: Alertmanager, alerts: Alerts) -> None:
    alerts.observe(ORIGIN, "drift", [drift("feature temp"), drift("feature wind")])
    alert = shown(alertmanager, "feature temp warning", "feature wind warning")["feature temp warning"]
    assert alert["labels"] == {
        "alertname": "KedgeInputDrift", "instance": "kedge", "severity": "warning", "model": "flights",
        "version": "1.0.0", "bundle": "abababababab", "cause": "input-drift", "subject": "feature temp",
        "owner_kind": "data", "owner": "weather@example.com", "region": "eu",
    }  # fmt: skip
    assert alert["annotations"] == {"summary": "feature temp drifted", "description": "mean 3 -> 20"}
    assert alert["generatorURL"].startswith("http://kedge.example.com:8002/?alert=")
    assert alert["status"]["state"] in {"active", "unprocessed"}
    for _ in range(2):
        alerts.observe(ORIGIN, "drift", [drift("feature wind")])
    shown(alertmanager, "feature wind warning")


def test_an_escalation_replaces_the_milder_alert(alertmanager: Alertmanager, alerts: Alerts) -> None:
    alerts.observe(ORIGIN, "drift", [drift("feature temp")])
    shown(alertmanager, "feature temp warning")
    alerts.observe(ORIGIN, "drift", [drift("feature temp", Severity.CRITICAL)])
    shown(alertmanager, "feature temp critical")


def test_an_alert_that_goes_on_does_not_time_out(alertmanager: Alertmanager, alerts: Alerts) -> None:
    alerts.observe(ORIGIN, "drift", [drift("feature temp")])
    first = shown(alertmanager, "feature temp warning")["feature temp warning"]

    def held() -> bool | None:
        now = shown(alertmanager, "feature temp warning")["feature temp warning"]
        return True if now["updatedAt"] > first["endsAt"] and now["endsAt"] > first["endsAt"] else None

    assert until(held), "posted again past the moment at which it would have counted as over"


def test_an_alertmanager_that_was_down_hears_all_of_it(alertmanager: Alertmanager, alerts: Alerts) -> None:
    alerts.observe(ORIGIN, "drift", [drift("feature temp"), drift("feature wind")])
    shown(alertmanager, "feature temp warning", "feature wind warning")
    alertmanager.stop()
    for _ in range(2):
        alerts.observe(ORIGIN, "drift", [drift("feature temp"), drift("feature rain", Severity.CRITICAL)])
    until(lambda: True if next(s for s in alerts.status() if s.name == "am").retried else None)
    alertmanager.start()
    # What it had forgotten in its own restart, what began and what ended meanwhile.
    shown(alertmanager, "feature temp warning", "feature rain critical")
    am = next(status for status in alerts.status() if status.name == "am")
    assert (am.dropped, am.refused) == (0, 0)
