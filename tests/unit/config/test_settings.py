"""Where settings come from, which source wins, and what addresses may look like."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge import config
from kedge.config import Address
from kedge.errors import ConfigError


def test_a_flag_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "kedge.yaml"
    file.write_text("drain_grace: 1\ndrain_timeout: 1\nlog_format: json\nstate: from-file\n")
    environment = {"KEDGE_DRAIN_GRACE": "2", "KEDGE_DRAIN_TIMEOUT": "2", "KEDGE_BUNDLE": "a.kedge:b.kedge", "PATH": "x"}
    settings = config.load({"drain_grace": 3.0, "plane": None, "bundle": ()}, environment, file)
    assert (settings.drain_grace, settings.drain_timeout, settings.log_format) == (3.0, 2.0, "json")
    assert settings.state == Path("from-file")
    assert settings.bundle == (Path("a.kedge"), Path("b.kedge"))
    assert settings.plane == "auto"


def test_defaults_are_loopback() -> None:
    settings = config.load({"state": "s"}, {}, None)
    assert [str(a) for a in (settings.grpc, settings.metrics, settings.admin)] == [
        "127.0.0.1:8001",
        "127.0.0.1:8002",
        "127.0.0.1:8003",
    ]
    assert all(a.loopback for a in (settings.grpc, settings.metrics, settings.admin))


def test_an_empty_variable_is_no_setting_and_other_kedge_variables_are_left_alone() -> None:
    variables = {"KEDGE_DRAIN_GRACE": "", "KEDGE_SERVICE_HOST": "10.0.0.1", "KEDGE_DEBUG": "1"}
    assert config.load({"state": "s"}, variables, None).drain_grace == 0.0


@pytest.mark.parametrize(
    "text", ["127.0.0.1:0", "[::1]:8001", "localhost:1", "unix:/run/kedge.sock", "host.name:65535"]
)
def test_an_address_reads_back_as_written(text: str) -> None:
    assert str(Address.parse(text)) == text


@pytest.mark.parametrize("text", ["127.0.0.1:0", "127.9.9.9:1", "[::1]:1", "localhost:1", "unix:/a"])
def test_loopback_is_known(text: str) -> None:
    assert Address.parse(text).loopback


@pytest.mark.parametrize("text", ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "example.org:1", "[::ffff:10.0.0.1]:1"])
def test_everything_else_is_not_loopback(text: str) -> None:
    assert not Address.parse(text).loopback
    with pytest.raises(ConfigError, match="only with TLS"):
        config.load({"state": "s", "admin": text}, {}, None)


@pytest.mark.parametrize(
    "text",
    ["", ":", "8001", ":8001", "host:", "host:x", "host:-1", "host:65536", "::1:80", "[::1]", "[::1:80", "[host]:1",
     "unix:", "unix:relative", "unix:/" + "a" * 107, "host:\uff18"],
)  # fmt: skip
def test_what_is_no_address_is_refused_with_the_text(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Address.parse(text)
    assert text in str(refused.value)


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_a_config_error(text: str) -> None:
    try:
        address = Address.parse(text)
    except ConfigError:
        return
    assert Address.parse(str(address)) == address


def test_a_secret_is_not_needed_but_half_a_pair_is_an_error() -> None:
    with pytest.raises(ConfigError, match="--tls-cert: tls_cert and tls_key go together"):
        config.load({"state": "s", "tls_cert": "c.pem"}, {}, None)


def test_a_huge_or_binary_settings_file_is_refused(tmp_path: Path) -> None:
    huge = tmp_path / "huge.yaml"
    huge.write_bytes(b"#" * (config.MAX_CONFIG_BYTES + 1))
    with pytest.raises(ConfigError, match="over 1048576 bytes"):
        config.load({"state": "s"}, {}, huge)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        config.load({"state": "s"}, {}, binary)


def test_alerts_come_from_the_file_alone_and_stay_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "kedge.yaml"
    file.write_text("alerts: {sinks: [{name: hook, 1: x}]}\n")
    settings = config.load({"state": "s"}, {"KEDGE_ALERTS": "tcp://10.0.0.1:80", "KEDGE_CONFIG": "other.yaml"}, file)
    assert settings.alerts == {"sinks": [{"name": "hook", 1: "x"}]}
    assert settings.config == file, "so that messages about alerts can name it"
    bare = config.load({"state": "s"}, {"KEDGE_ALERTS": "tcp://10.0.0.1:80", "KEDGE_CONFIG": "other.yaml"}, None)
    assert (bare.alerts, bare.config) == (None, None)


@pytest.mark.parametrize(
    ("line", "hint"), [("config: other.yaml", "known: admin, admin_auth"), ("alert: {}", "'alerts'?")]
)
def test_an_unknown_setting_is_refused_with_a_hint(tmp_path: Path, line: str, hint: str) -> None:
    file = tmp_path / "kedge.yaml"
    file.write_text(line)
    with pytest.raises(ConfigError, match="unknown setting") as refused:
        config.load({"state": "s"}, {}, file)
    assert hint in str(refused.value)


TLS = {"admin_tls_cert": "c.pem", "admin_tls_key": "k.pem"}


@pytest.mark.parametrize("flags", [{}, {"admin_tokens": "t"}, TLS], ids=["nothing", "tokens alone", "TLS alone"])
def test_an_admin_port_off_loopback_needs_tls_and_authentication(flags: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"listens on '10\.0\.0\.1:8003' only with TLS"):
        config.load({"state": "s", "admin": "10.0.0.1:8003", **flags}, {}, None)


def test_with_both_it_may_listen_anywhere(tmp_path: Path) -> None:
    file = tmp_path / "kedge.yaml"
    file.write_text("admin: 0.0.0.0:8003\nadmin_auth: {certificates: {ci.example.org: deployer}}\n")
    by_token = config.load({"state": "s", "admin": "[::]:8003", "admin_tokens": "t", **TLS}, {}, None)
    assert by_token.admin_tokens == Path("t")
    by_certificate = config.load({"state": "s", "admin_tls_client_ca": "ca.pem", **TLS}, {}, file)
    assert by_certificate.admin_auth.certificates == {"ci.example.org": "deployer"}


@pytest.mark.parametrize(
    ("content", "flags", "words"),
    [
        ("admin_auth: {certificates: {ci: root}}", {}, r"admin_auth.certificates.ci: Input should be 'viewer'"),
        ("admin_auth: {certs: {}}", {}, r"kedge.yaml: admin_auth.certs: Extra inputs"),
        ("admin_auth: {certificates: {ci: viewer}}", {}, "need admin_tls_client_ca"),
        ("", {"admin_tls_key": "k.pem"}, "--admin-tls-key: admin_tls_cert and admin_tls_key go together"),
        ("", {"admin_tls_client_ca": "ca.pem"}, "admin_tls_client_ca needs admin_tls_cert"),
        ("", {"admin_tls_client_ca": "ca.pem", **TLS}, "lets nobody in by itself"),
        ("", {"admin_mtls": "[::]:8004", "admin_tokens": "t", **TLS}, "--admin-mtls.*needs admin_tls_client_ca"),
        ("", {"user": "-no user"}, "--user: String should match"),
    ],
)
def test_authentication_that_cannot_work_is_refused(
    tmp_path: Path, content: str, flags: dict[str, str], words: str
) -> None:
    file = tmp_path / "kedge.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=words):
        config.load({"state": "s", **flags}, {}, file)
