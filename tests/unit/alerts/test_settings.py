from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from kedge.alerts.settings import AlertsConfig, Secret, parse
from kedge.alerts.sinks.select import build
from kedge.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

FULL = """
instance: prod-1
external_url: https://kedge.example.com/
repeat: 3600
clear_after: 5
labels: {region: eu}
sinks:
  - {name: hook, type: webhook, url: https://hooks.example.com/in, token: {env: HOOK_TOKEN}}
  - {name: am, type: alertmanager, url: "http://alertmanager:9093", refresh: 30}
  - {name: pager, type: pagerduty, routing_key: {env: PAGER_KEY}}
routes:
  - {owners: [data, feature], sinks: [hook]}
  - {severity: critical, sinks: [pager, am]}
"""


def test_a_full_section_is_understood() -> None:
    config = parse(yaml.safe_load(FULL), "kedge.yaml: alerts")
    assert [sink.type for sink in config.sinks] == ["webhook", "alertmanager", "pagerduty"]
    assert config.routes[0].owners == ("data", "feature")
    assert config.routes[1].severity.value == "critical"
    sinks = build(config, {"HOOK_TOKEN": "abc", "PAGER_KEY": "def"})
    assert list(sinks) == ["log", "hook", "am", "pager"]
    assert sinks["am"].refresh == 30


@pytest.mark.parametrize("section", [None, {}])
def test_an_empty_section_leaves_the_log(section: object) -> None:
    config = parse(section, "alerts")
    assert config == AlertsConfig()
    assert list(build(config, {})) == ["log"]


def hook(**changes: Any) -> dict[str, Any]:
    return {"name": "hook", "type": "webhook", "url": "https://h.example.com/", **changes}


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ([], "alerts: "),
        ({"sink": []}, "alerts.sink: Extra inputs"),
        ({"sinks": [hook(type="mail")]}, "alerts.sinks[0]: Input tag 'mail'"),
        ({"sinks": [hook(url="h.example.com")]}, "alerts.sinks[0].url: must be an absolute http:// or https:// URL"),
        ({"sinks": [hook(url="https://u:p@h/")]}, "alerts.sinks[0].url: must not hold a user or password"),
        ({"sinks": [hook(url="https://h/#x")]}, "alerts.sinks[0].url: must not have a fragment"),
        ({"sinks": [hook(url="https://h:99999/")]}, "alerts.sinks[0].url: must be an absolute"),
        ({"sinks": [hook(url="https://h/a b")]}, "alerts.sinks[0].url: must be an absolute"),
        ({"sinks": [hook(url_from={"env": "U"})]}, "alerts.sinks[0]: name one of 'url' and 'url_from'"),
        ({"sinks": [hook(timeout=0)]}, "alerts.sinks[0].timeout: Input should be greater than 0"),
        ({"sinks": [{**hook(), "token": "hunter2"}]}, "alerts.sinks[0].token: a secret is never written here"),
        ({"sinks": [hook(token={"env": "A", "file": "b"})]}, "alerts.sinks[0].token: name one of 'env' and 'file'"),
        ({"sinks": [hook(token={"env": "A"}, url="http://h/")]}, "alerts.sinks[0]: 'token' would cross the network"),
        ({"sinks": [hook(), hook()]}, "alerts: two sinks are named 'hook'"),
        ({"sinks": [hook(name="log")]}, "alerts: the name 'log' belongs to the log"),
        ({"routes": [{"sinks": ["hock"]}], "sinks": [hook()]}, "alerts: a route names 'hock'"),
        ({"routes": [{"sinks": ["log"]}], "sinks": [hook()]}, "alerts: sink 'hook' is in no route"),
        ({"routes": [{"sinks": ["log"], "owners": ["boss"]}]}, "alerts.routes[0].owners[0]: Input should be 'data'"),
        ({"routes": [{"sinks": ["log"], "severity": "bad"}]}, "alerts.routes[0].severity: Input should be 'info'"),
        ({"labels": {"severity": "x"}}, "alerts: label 'severity' is reserved"),
        ({"labels": {"a-b": "x"}}, "alerts: label 'a-b' is reserved, or not of letters"),
        ({"repeat": 1}, "alerts.repeat: Input should be greater than or equal to 10"),
        ({"sinks": [{"name": "p", "type": "pagerduty", "routing_key": {"env": "K"}, "url": "http://pd.example.com"}]},
         "alerts.sinks[0]: 'routing_key' would cross the network in clear"),
    ],
)  # fmt: skip
def test_a_wrong_section_is_refused_by_name(section: object, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse(section, "alerts")
    assert str(raised.value).startswith(message)
    assert "hunter2" not in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raised.value.__suppress_context__, "the cause holds values, and a traceback would show them"


def test_a_token_may_stay_on_this_machine_without_tls() -> None:
    for host in ("127.0.0.1:9093", "[::1]:9093", "localhost"):
        assert parse({"sinks": [hook(token={"env": "A"}, url=f"http://{host}/")]}, "alerts").sinks


def test_a_secret_is_read_anew_each_time(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    secret = Secret(file=file)
    assert secret.read({}) == "first"
    file.write_text("second")
    assert secret.read({}) == "second"
    assert Secret(env="T").read({"T": "third"}) == "third"


@pytest.mark.parametrize(
    "text", ["", "\n", "two\nlines", "bell\a", "caf\N{LATIN SMALL LETTER E WITH ACUTE}", "x" * 9000]
)
def test_what_cannot_stand_in_a_header_is_no_secret_and_is_not_shown(tmp_path: Path, text: str) -> None:
    (tmp_path / "token").write_text(text, encoding="utf-8")
    for secret, environment in ((Secret(file=tmp_path / "token"), {}), (Secret(env="T"), {"T": text})):
        with pytest.raises(ConfigError, match=r"the secret in (file|environment variable)") as raised:
            secret.read(environment)
        assert not text.strip() or text not in str(raised.value)


def test_a_secret_file_that_is_missing_or_binary_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read a secret from file .*nothing"):
        Secret(file=tmp_path / "nothing").read({})
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        Secret(file=tmp_path / "binary").read({})


@pytest.mark.parametrize(
    ("sink", "environment", "message"),
    [
        (hook(token={"env": "T"}), {}, "alerts: sink 'hook': the secret in environment variable T is missing"),
        (
            hook(url=None, url_from={"env": "U"}),
            {"U": "http://h/secret"},
            "the URL of 'url_from' would cross the network",
        ),
        (hook(url=None, url_from={"env": "U"}), {"U": "h/secret"}, "the URL of 'url_from' must be an absolute"),
        (hook(ca_file="missing.pem"), {}, "alerts: sink 'hook': cannot read authorities from 'missing.pem'"),
    ],
)
def test_a_sink_that_cannot_work_is_refused_at_the_start(
    sink: dict[str, Any], environment: dict[str, str], message: str
) -> None:
    config = parse({"sinks": [{key: value for key, value in sink.items() if value is not None}]}, "alerts")
    with pytest.raises(ConfigError) as raised:
        build(config, environment)
    assert message in str(raised.value)
    assert "/secret" not in str(raised.value)
