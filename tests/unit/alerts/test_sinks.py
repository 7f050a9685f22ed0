from __future__ import annotations

import datetime as dt
import ipaddress
import json
import logging
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kedge.alerts.model import Alert, Cause, Kind, Notification, Severity
from kedge.alerts.settings import parse
from kedge.alerts.sinks.base import Delivered, Refused, Retry, Sink
from kedge.alerts.sinks.http import link
from kedge.alerts.sinks.select import build
from kedge.cli.logs import JsonFormatter, RateLimit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kedge_testing.receiver import Receiver

    Start = Callable[..., Receiver]

NOW = 1_700_000_100.0


def alert(**changes: Any) -> Alert:
    values: dict[str, Any] = {
        "key": "0123456789abcdef" * 2, "model": "flights", "version": "1.0.0", "bundle": "ab" * 32,
        "cause": Cause.INPUT_DRIFT, "subject": "feature temp", "owner_kind": "data", "owner": "weather@x",
        "severity": Severity.WARNING, "summary": "temp drifted 100 %", "description": "mean 3 -> 20\nmore",
        "labels": {"region": "eu"}, "started": 1_700_000_000.0,
    }  # fmt: skip
    return Alert(**{**values, **changes})


def message(kind: Kind = Kind.FIRING, **changes: Any) -> Notification:
    return Notification(id=f"id-{kind.value}", kind=kind, sink="it", alert=alert(**changes))


def sink(environment: dict[str, str] | None = None, **settings: Any) -> Sink:
    section = {
        "instance": "prod-1",
        "external_url": "https://kedge.example.com/",
        "sinks": [{"name": "it", **settings}],
    }
    return build(parse(section, "alerts"), environment or {})["it"]


def test_a_webhook_gets_a_cloud_event(receiver: Start) -> None:
    server = receiver()
    it = sink({"T": "s3cret"}, type="webhook", url=f"{server.url}/in?a=b", token={"env": "T"})
    assert it.deliver(message(), NOW) == Delivered()
    assert it.deliver(message(Kind.RESOLVED, ended=1_700_000_060.0), NOW) == Delivered()
    first, last = server.requests
    assert first.path == "/in?a=b"
    assert first.headers["Content-Type"] == "application/cloudevents+json; charset=utf-8"
    assert first.headers["Authorization"] == "Bearer s3cret"
    assert first.headers["Idempotency-Key"] == "id-firing"
    data = first.body.pop("data")
    assert first.body == {
        "specversion": "1.0",
        "id": "id-firing",
        "source": "/kedge/prod-1",
        "type": "kedge.v1.alert.firing",
        "subject": "flights/input-drift/0123456789abcdef0123456789abcdef",
        "time": "2023-11-14T22:15:00.000Z",
        "datacontenttype": "application/json",
    }
    assert data["started"] == "2023-11-14T22:13:20.000Z"
    assert data["ended"] is None
    assert (data["owner_kind"], data["owner"], data["severity"]) == ("data", "weather@x", "warning")
    assert last.body["type"] == "kedge.v1.alert.resolved"
    assert last.body["data"]["ended"] == "2023-11-14T22:14:20.000Z"


def test_pagerduty_opens_and_closes_by_the_same_key(receiver: Start) -> None:
    server = receiver(lambda _n, _request: (202, {}))
    it = sink({"K": "r" * 32}, type="pagerduty", url=server.url, routing_key={"env": "K"})
    assert it.deliver(message(severity=Severity.CRITICAL), NOW) == Delivered()
    assert it.deliver(message(Kind.RESOLVED, ended=NOW), NOW) == Delivered()
    trigger, resolve = server.requests
    assert trigger.path == resolve.path == "/v2/enqueue"
    assert trigger.body["event_action"] == "trigger"
    assert trigger.body["routing_key"] == "r" * 32
    assert trigger.body["payload"]["severity"] == "critical"
    assert trigger.body["payload"]["source"] == "prod-1"
    assert trigger.body["payload"]["custom_details"]["owner"] == "weather@x"
    assert trigger.body["client_url"].startswith("https://kedge.example.com/?alert=0123")
    assert resolve.body == {
        "event_action": "resolve", "routing_key": "r" * 32, "dedup_key": trigger.body["dedup_key"]
    }  # fmt: skip


def test_alertmanager_is_told_how_long_an_alert_holds(receiver: Start) -> None:
    server = receiver()
    it = sink(type="alertmanager", url=f"{server.url}/prefix/", refresh=60)
    assert it.refresh == 60.0
    it.deliver(message(), NOW)
    it.deliver(message(Kind.ESCALATED, severity=Severity.CRITICAL), NOW)
    it.deliver(message(Kind.RESOLVED, severity=Severity.CRITICAL, ended=1_700_000_060.0), NOW)
    (firing,), escalated, (resolved,) = (each.body for each in server.requests)
    assert server.requests[0].path == "/prefix/api/v2/alerts"
    assert firing["labels"] == {
        "region": "eu", "alertname": "KedgeInputDrift", "instance": "prod-1", "severity": "warning", "model": "flights",
        "version": "1.0.0", "bundle": "abababababab", "cause": "input-drift", "subject": "feature temp",
        "owner_kind": "data", "owner": "weather@x",
    }  # fmt: skip
    assert firing["startsAt"] == "2023-11-14T22:13:20.000Z"
    assert firing["endsAt"] == "2023-11-14T22:18:00.000Z", "three refreshes from now"
    assert firing["annotations"] == {"summary": "temp drifted 100 %", "description": "mean 3 -> 20\nmore"}
    assert firing["generatorURL"] == "https://kedge.example.com/?alert=0123456789abcdef0123456789abcdef"
    ends = {each["labels"]["severity"]: each["endsAt"] for each in escalated}
    assert ends == {
        "critical": "2023-11-14T22:18:00.000Z",
        "info": "2023-11-14T22:15:00.000Z",
        "warning": "2023-11-14T22:15:00.000Z",
    }
    assert escalated[1]["labels"] | {"severity": "warning"} == firing["labels"]
    assert resolved["endsAt"] == "2023-11-14T22:14:20.000Z"


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("http://k:8002", "http://k:8002/?alert=ab"),
        ("http://k/x/", "http://k/x/?alert=ab"),
        ("http://k/x?a=b", "http://k/x?a=b&alert=ab"),
    ],
)
def test_links_lead_to_the_alert(base: str, expected: str) -> None:
    assert link(base, "ab") == expected


def test_an_owner_that_is_empty_is_no_label(receiver: Start) -> None:
    server = receiver()
    sink(type="alertmanager", url=server.url).deliver(message(owner=""), NOW)
    assert "owner" not in server.requests[0].body[0]["labels"]


def test_the_log_gets_every_alert_however_many_come_at_once(caplog: pytest.LogCaptureFixture) -> None:
    it, limit = sink(type="log"), RateLimit(lambda: 0.0)
    with caplog.at_level(logging.INFO, "kedge.alerts"):
        for n in range(50):
            assert it.deliver(message(summary=f"feature {n} drifted by 100 %s"), NOW) == Delivered()
        it.deliver(message(severity=Severity.CRITICAL), NOW)
        it.deliver(message(Kind.RESOLVED, severity=Severity.CRITICAL, ended=NOW), NOW)
    kept = [record for record in caplog.records if limit.filter(record)]
    assert len(kept) == 52
    line = json.loads(JsonFormatter().format(kept[49]))
    assert line["message"] == "alert firing: feature 49 drifted by 100 %s"
    assert (line["level"], line["owner"], line["cause"], line["region"]) == (
        "warning",
        "weather@x",
        "input-drift",
        "eu",
    )
    assert [record.levelno for record in kept[50:]] == [logging.ERROR, logging.INFO]


@pytest.mark.parametrize("status", [200, 202, 204])
def test_success_is_delivered(receiver: Start, status: int) -> None:
    server = receiver(lambda _n, _request: (status, {}))
    assert sink(type="webhook", url=server.url).deliver(message(), NOW) == Delivered()


@pytest.mark.parametrize("status", [400, 406, 409, 410, 413, 415, 422])
def test_what_speaks_about_the_message_is_final(receiver: Start, status: int) -> None:
    server = receiver(lambda _n, _request: (status, {}))
    outcome = sink(type="webhook", url=server.url).deliver(message(), NOW)
    assert outcome == Refused(f"{server.url} answered {status}: said")


@pytest.mark.parametrize("status", [301, 302, 308, 401, 403, 404, 408, 429, 500, 502, 503, 504])
def test_what_speaks_about_the_sink_is_tried_again(receiver: Start, status: int) -> None:
    server = receiver(lambda _n, _request: (status, {"Location": "http://elsewhere/"}))
    outcome = sink(type="webhook", url=f"{server.url}/secret?key=secret").deliver(message(), NOW)
    assert outcome == Retry(f"{server.url} answered {status}: said"), "no path: it may be a secret"
    assert len(server.requests) == 1, "a redirect is not followed"


@pytest.mark.parametrize(("header", "after"), [("7", 7.0), ("999999", 3600.0), ("soon", 0.0), ("-1", 0.0), ("", 0.0)])
def test_retry_after_is_honoured_within_reason(receiver: Start, header: str, after: float) -> None:
    server = receiver(lambda _n, _request: (503, {"Retry-After": header}))
    outcome = sink(type="webhook", url=server.url).deliver(message(), NOW)
    assert isinstance(outcome, Retry)
    assert outcome.after == after


def test_nobody_there_is_tried_again(receiver: Start) -> None:
    server = receiver()
    server.close()
    outcome = sink(type="webhook", url=server.url).deliver(message(), NOW)
    assert outcome == Retry(f"{server.url}: Connection refused")


@pytest.mark.parametrize(
    "answer",
    [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 999999 \r\n\r\n", b"HTTP/1.1 200 " + b"x" * 70_000 + b"\r\n\r\n"],
)
def test_what_is_no_http_is_tried_again(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        assert isinstance(sink(type="webhook", url=url).deliver(message(), NOW), Retry)
        thread.join()


def test_one_byte_at_a_time_does_not_last_for_ever() -> None:
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                try:
                    connection.sendall(b"HTTP/1.1 200 ")
                    while not ended.wait(0.01):
                        connection.sendall(b"x")
                except OSError:
                    pass  # the sink has hung up, as it should

        thread = threading.Thread(target=drip)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        outcome = sink(type="webhook", url=url, timeout=0.2).deliver(message(), NOW)
        ended.set()
        thread.join()
    assert outcome == Retry(f"{url}: timed out")


def test_tls_is_checked(receiver: Start, tmp_path: Path) -> None:
    certificate = tmp_path / "server.pem"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _self_signed(certificate)
    context.load_cert_chain(certificate)
    server = receiver(context=context)
    distrusting = sink({"T": "s3cret"}, type="webhook", url=server.url, token={"env": "T"})
    outcome = distrusting.deliver(message(), NOW)
    assert isinstance(outcome, Retry)
    assert "CERTIFICATE_VERIFY_FAILED" in outcome.reason
    assert server.requests == [], "nothing is said to a server that is not who it should be"
    trusting = sink(type="webhook", url=server.url, ca_file=str(certificate))
    assert trusting.deliver(message(), NOW) == Delivered()


@pytest.mark.parametrize(
    "settings",
    [
        {"type": "webhook", "token": {"env": "S"}},
        {"type": "alertmanager", "token": {"env": "S"}},
        {"type": "pagerduty", "routing_key": {"env": "S"}},
    ],
)
def test_a_secret_that_is_gone_meanwhile_is_waited_for(receiver: Start, settings: dict[str, Any]) -> None:
    server, environment = receiver(), {"S": "s3cret"}
    it = sink(environment, url=server.url, **settings)
    del environment["S"]
    outcome = it.deliver(message(), NOW)
    assert outcome == Retry("the secret in environment variable S is missing or empty")
    environment["S"] = "again"
    assert it.deliver(message(), NOW) == Delivered()


def _self_signed(path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    start = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=3))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
