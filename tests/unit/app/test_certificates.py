"""Certificates that are renewed while a server runs."""

from __future__ import annotations

import logging
import socket
import ssl
from typing import TYPE_CHECKING

import pytest
from kedge_testing.admins import Authority
from kedge_testing.serving import eventually

from kedge.app import Server
from kedge.app_certificates import Certificates, check
from kedge.config import Address, Settings
from kedge.errors import ConfigError
from kedge.plane.contract import Tls

if TYPE_CHECKING:
    from pathlib import Path


def test_a_renewed_pair_is_handed_on_once_and_half_a_pair_never(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    authority = Authority()
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    old, new = authority.pair("kedge"), authority.pair("kedge")
    certificate.write_bytes(old[0])
    key.write_bytes(old[1])
    files = Certificates(Settings(state=tmp_path, tls_cert=certificate, tls_key=key))
    assert files.tls == Tls(*old)
    used: list[Tls] = []
    files.renew(used.append)
    certificate.write_bytes(new[0])
    files.renew(used.append)
    files.renew(used.append)
    assert used == []
    assert [record.message for record in caplog.records] == [
        "renewed certificates cannot be used; the ones before stay"
    ]
    key.write_bytes(new[1])
    files.renew(used.append)
    files.renew(used.append)
    assert used == [Tls(*new)]
    caplog.clear()
    key.unlink()
    files.renew(used.append)
    files.renew(used.append)
    assert (used, files.tls) == ([Tls(*new)], Tls(*new))
    assert len(caplog.records) == 1, "said once, not at each look"
    key.write_bytes(new[1])
    files.renew(used.append)
    key.unlink()
    files.renew(used.append)
    assert len(caplog.records) == 2, "it was there in between"


def test_what_the_port_refuses_is_tried_once(tmp_path: Path) -> None:
    authority = Authority()
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    for path, data in zip((certificate, key), authority.pair("kedge"), strict=True):
        path.write_bytes(data)
    files = Certificates(Settings(state=tmp_path, tls_cert=certificate, tls_key=key))
    for path, data in zip((certificate, key), authority.pair("kedge"), strict=True):
        path.write_bytes(data)
    tried: list[Tls] = []

    def refuse(tls: Tls) -> None:
        tried.append(tls)
        raise ConfigError("no")

    files.renew(refuse)
    files.renew(refuse)
    assert len(tried) == 1


def handshake(address: str, ca: bytes) -> bool:
    """Whether the server there has a certificate of this CA."""
    context = ssl.create_default_context(cadata=ca.decode())
    context.set_alpn_protocols(["h2"])
    host, _, port = address.rpartition(":")
    try:
        with (
            socket.create_connection((host, int(port)), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="localhost"),
        ):
            return True
    except ssl.SSLCertVerificationError:
        return False


def test_a_server_uses_renewed_certificates_on_both_ports_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kedge.app.CERTIFICATE_SECONDS", 0.05)
    first, second = Authority("first"), Authority("second")
    files = [tmp_path / name for name in ("c.pem", "k.pem")]
    for path, data in zip(files, first.pair("kedge"), strict=True):
        path.write_bytes(data)
    certificate, key = files
    free = Address.parse("127.0.0.1:0")
    server = Server(
        Settings(
            state=tmp_path / "state", grpc=free, admin=free, metrics=free, plane="portable",
            tls_cert=certificate, tls_key=key, admin_tls_cert=certificate, admin_tls_key=key,
        )
    )  # fmt: skip
    try:
        ports = [server.describe()[name] for name in ("grpc", "admin")]
        assert all(handshake(port, first.pem) and not handshake(port, second.pem) for port in ports)
        for path, data in zip(files, second.pair("kedge"), strict=True):
            path.write_bytes(data)
        for port in ports:
            eventually(lambda port=port: handshake(port, second.pem), every=0.1)
            assert not handshake(port, first.pem)
    finally:
        server.stop()


def test_a_port_without_tls_has_nothing_to_renew(tmp_path: Path) -> None:
    files = Certificates(Settings(state=tmp_path))
    assert files.tls is None
    files.renew(lambda _: pytest.fail("nothing is new"))


@pytest.mark.parametrize("damaged", [0, 1, 2])
def test_what_is_damaged_is_said(damaged: int) -> None:
    authority = Authority()
    parts = [*authority.pair("kedge"), authority.pem]
    check(Tls(*parts))
    parts[damaged] = b"-----BEGIN NONSENSE-----"
    with pytest.raises(ConfigError, match="damaged"):
        check(Tls(*parts))
