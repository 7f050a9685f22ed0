"""What `kedge serve` refuses: one line that names the source of the bad value, exit 2, no traceback."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

CASES = {
    "no state": ([], "--state is needed"),
    "address without port": (["--grpc", "localhost"], "--grpc: 'localhost' is no address"),
    "port out of range": (["--metrics", "127.0.0.1:70000"], "--metrics: '127.0.0.1:70000': the port must be"),
    "bare IPv6": (["--grpc", "::1:80"], "--grpc: '::1:80' is no address"),
    "admin off loopback": (["--admin", "0.0.0.0:8003"], "--admin: the admin port listens on"),
    "empty state": (["--state", ""], "--state: is empty; name a directory"),
    "unknown plane": (["--plane", "fast"], "--plane: Input should be"),
    "unknown kernel": (["--kernel", "fast"], "--kernel: Input should be"),
    "native plane with another kernel": (["--plane", "native", "--kernel", "numba"], "--plane native"),
    "no shards": (["--shards", "0"], "--shards: Input should be greater than or equal to 1"),
    "shards of the portable plane": (["--plane", "portable", "--shards", "2"], "--shards 2: the portable plane"),
    "negative grace": (["--drain-grace", "-1"], "--drain-grace: Input should be greater than or equal to 0"),
    "no such archive": (["--bundle", "nowhere.kedge"], "nowhere.kedge"),
    "key without certificate": (["--tls-key", "key.pem"], "--tls-key: tls_cert and tls_key go together"),
    "client CA alone": (["--tls-client-ca", "ca.pem"], "--tls-client-ca: tls_client_ca needs"),
    "certificate missing": (["--tls-cert", "no.pem", "--tls-key", "no.key"], "--tls-cert: cannot read 'no.pem'"),
    "unknown flag": (["--fast"], "No such option: --fast"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_flag_is_named(kedge: Any, tmp_path: Path, case: str) -> None:
    flags, message = CASES[case]
    state = [] if case == "no state" else ["--state", str(tmp_path / "state")]
    ports = [
        x for name in ("grpc", "admin", "metrics") if f"--{name}" not in flags for x in (f"--{name}", "127.0.0.1:0")
    ]
    text = kedge("serve", *state, *ports, *flags)
    assert text.status == 2
    assert text.out == ""
    assert text.err.startswith("error: ")
    assert text.err.count("\n") == 1
    assert message in text.err


def test_with_json_an_error_is_json_on_standard_output(kedge: Any, tmp_path: Path) -> None:
    for flags, message in (CASES["admin off loopback"], CASES["unknown flag"]):
        done = kedge("serve", "--state", tmp_path / "state", *flags, "--json")
        assert (done.status, done.err) == (2, "")
        assert message in json.loads(done.out)["error"]["message"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("drain_grace: soon\n", "kedge.yaml: drain_grace: Input should be a valid number"),
        ("drain_grac: 1\n", "kedge.yaml: unknown setting 'drain_grac'; did you mean 'drain_grace'?"),
        ("- a\n- b\n", "kedge.yaml: expected settings"),
        ("a: [1\n", "kedge.yaml': not valid YAML at line 2"),
        ("admin: 192.168.1.1:8003\n", "kedge.yaml: admin: the admin port listens on"),
    ],
)
def test_a_bad_settings_file_is_named_with_its_key(kedge: Any, tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "kedge.yaml"
    file.write_text(content)
    done = kedge("serve", "--state", tmp_path / "state", "--config", file)
    assert done.status == 2
    assert message in done.err


def test_a_bad_environment_variable_is_named(kedge: Any, tmp_path: Path) -> None:
    done = kedge("serve", "--state", tmp_path / "state", KEDGE_DRAIN_TIMEOUT="long")
    assert done.status == 2
    assert "environment variable KEDGE_DRAIN_TIMEOUT: Input should be a valid number" in done.err


def test_a_missing_settings_file_is_named(kedge: Any, tmp_path: Path) -> None:
    done = kedge("serve", "--state", tmp_path / "state", "--config", tmp_path / "none.yaml")
    assert done.status == 2
    assert "cannot read --config" in done.err


@pytest.mark.parametrize("port", ["grpc", "admin", "metrics"])
def test_a_port_that_is_taken_is_named(kedge: Any, bundles: Any, tmp_path: Path, port: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        flags = [
            x
            for name in ("grpc", "admin", "metrics")
            for x in (f"--{name}", address if name == port else "127.0.0.1:0")
        ]
        done = kedge("serve", "--state", tmp_path / "state", "--bundle", bundles(), *flags)
    assert done.status == 2
    assert address in done.err
    assert done.err.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.err


def test_a_damaged_archive_is_refused_and_nothing_is_live(kedge: Any, bundles: Any, tmp_path: Path) -> None:
    data = bytearray(bundles().read_bytes())
    data[len(data) // 2] ^= 1
    damaged = tmp_path / "damaged.kedge"
    damaged.write_bytes(data)
    free = [x for name in ("grpc", "admin", "metrics") for x in (f"--{name}", "127.0.0.1:0")]
    done = kedge("serve", "--state", tmp_path / "state", "--bundle", damaged, *free)
    assert done.status == 2
    assert done.err.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.err
