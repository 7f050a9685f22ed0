"""Alerts outlive the process that found them: kill -9 at the worst moments."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

from kedge_testing.receiver import WAIT, Receiver

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import json, os, sys, time
from kedge.alerts.model import Cause, Finding, Origin, Severity
from kedge.alerts.service import Alerts
from kedge.alerts.settings import parse
from kedge.bundle.manifest import Owners

path, url, findings = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
section = {"clear_after": 1, "sinks": [{"name": "hook", "type": "webhook", "url": url, "timeout": 30}]}
alerts = Alerts(parse(section, "alerts"), path, os.environ)
alerts.start()
origin = Origin("flights", "1.0.0", "ab" * 32, Owners(data="weather@x"))
for names in findings:
    found = [Finding(Cause.INPUT_DRIFT, name, Severity.WARNING, name + " drifted") for name in names]
    alerts.observe(origin, "drift", found)
print("kept", flush=True)
time.sleep(600)
"""


def start(path: Path, url: str, findings: list[list[str]]) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(path), url, json.dumps(findings)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "kept\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    assert process.wait(WAIT) == -signal.SIGKILL
    assert process.stdout is not None
    process.stdout.close()


def test_what_a_dead_process_had_not_delivered_its_successor_does(tmp_path: Path) -> None:
    down = Receiver()
    port = down.port
    down.close()
    findings = [["temp", "wind"], ["temp"], ["temp", "rain"]]
    kill(start(tmp_path / "alerts.db", down.url, findings))
    up = Receiver(port=port)
    try:
        process = start(tmp_path / "alerts.db", up.url, [])
        requests = up.wait(lambda requests: len(requests) == 4)
        kill(process)
    finally:
        up.close()
    sent = [(each.body["data"]["subject"], each.body["type"].rpartition(".")[2]) for each in requests]
    assert sorted(sent) == [("rain", "firing"), ("temp", "firing"), ("wind", "firing"), ("wind", "resolved")]
    assert sent.index(("wind", "firing")) < sent.index(("wind", "resolved"))
    assert len({each.body["id"] for each in requests}) == 4


def test_a_message_cut_off_in_flight_is_sent_again_under_the_same_id(tmp_path: Path) -> None:
    release = threading.Event()
    server = Receiver(lambda n, _request: (release.wait(WAIT) if n == 1 else None, (200, {}))[1])
    try:
        process = start(tmp_path / "alerts.db", server.url, [["temp"]])
        server.wait(lambda requests: len(requests) == 1)
        kill(process)
        successor = start(tmp_path / "alerts.db", server.url, [["temp"], ["temp", "wind"]])
        requests = server.wait(lambda requests: len(requests) == 3)
        kill(successor)
    finally:
        release.set()
        server.close()
    first, again, other = requests
    assert first.body["id"] == again.body["id"] == again.headers["Idempotency-Key"]
    assert first.body["data"] == again.body["data"], "the same alert: started when it was first found"
    assert other.body["data"]["subject"] == "wind"
