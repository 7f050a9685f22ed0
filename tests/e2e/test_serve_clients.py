"""The Python clients against a real server: asyncio, TLS, mutual TLS, IPv6."""

from __future__ import annotations

import asyncio
import csv
import datetime as dt
import ipaddress
import json
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kedge.client import AsyncClient, Client
from kedge.errors import Code, KedgeError

if TYPE_CHECKING:
    from pathlib import Path


def rows(count: int) -> dict[str, Any]:
    return {
        "temp": np.linspace(0, 90, count, dtype=np.float32).reshape(-1, 1),
        "distance": np.full((count, 1), 500.0, np.float32),
        "carrier": np.array([["DL"]] * count, dtype=object),
    }


def test_the_async_client_gives_the_answers_of_the_sync_one(serve: Any, bundles: Any) -> None:
    server = serve("--bundle", bundles())

    async def work() -> list[np.ndarray]:
        async with AsyncClient(server.grpc) as client:
            assert await client.ready()
            assert not await client.ready("other")
            assert [spec.name for spec in (await client.metadata("flights")).inputs] == ["temp", "distance", "carrier"]
            with pytest.raises(KedgeError) as refused:
                await client.infer("other", rows(1))
            assert refused.value.code is Code.NOT_FOUND
            answers = await asyncio.gather(*(client.infer("flights", rows(n)) for n in range(1, 40)))
            return [answer.outputs["probabilities"] for answer in answers]

    together = asyncio.run(work())
    with Client(server.grpc) as client:
        for n, got in enumerate(together, 1):
            assert np.allclose(got, client.infer("flights", rows(n)).outputs["probabilities"], atol=1e-6)


def test_ipv6(serve: Any, bundles: Any) -> None:
    server = serve("--bundle", bundles(), "--grpc", "[::1]:0", "--admin", "[::1]:0", "--metrics", "[::1]:0")
    assert all(address.startswith("[::1]:") for address in (server.grpc, server.admin, server.metrics))
    with Client(server.grpc) as client:
        assert client.ready("flights")


class Authority:
    """A certificate authority of one test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test authority")])
        self.certificate = self._sign(self.name, self.key, ca=True)
        self.pem = self.certificate.public_bytes(serialization.Encoding.PEM)
        (folder / "ca.pem").write_bytes(self.pem)

    def _sign(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, ca: bool) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self.key, hashes.SHA256())
        )

    def issue(self, name: str) -> tuple[bytes, bytes]:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]), key, ca=False)
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (self.folder / f"{name}.pem").write_bytes(pem)
        (self.folder / f"{name}.key").write_bytes(private)
        return private, pem


def test_tls_and_mutual_tls(serve: Any, bundles: Any, kedge: Any, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.issue("server")
    private, pem = authority.issue("client")
    flags = ["--bundle", bundles(), "--tls-cert", tmp_path / "server.pem", "--tls-key", tmp_path / "server.key"]
    plain = serve(*flags)
    with Client(plain.grpc, credentials=grpc.ssl_channel_credentials(authority.pem)) as client:
        assert client.ready("flights")
    with Client(plain.grpc, timeout=5) as client, pytest.raises(KedgeError):
        client.ready()
    mutual = serve(*flags, "--tls-client-ca", tmp_path / "ca.pem", state=tmp_path / "other")
    with Client(mutual.grpc, credentials=grpc.ssl_channel_credentials(authority.pem, private, pem)) as client:
        assert client.ready("flights")
    with (
        Client(mutual.grpc, timeout=5, credentials=grpc.ssl_channel_credentials(authority.pem)) as client,
        pytest.raises(KedgeError),
    ):
        client.ready()
    flights = tmp_path / "rows.json"
    flights.write_text(json.dumps({"temp": 40.0, "distance": 500.0, "carrier": "DL"}) + "\n")
    ours = ["--server", mutual.grpc, "--tls-ca", tmp_path / "ca.pem"]
    mine = [*ours, "--tls-cert", tmp_path / "client.pem", "--tls-key", tmp_path / "client.key"]
    out = tmp_path / "out.csv"
    assert kedge("predict", "flights", "--input", flights, "--output", out, "--ids", *mine).status == 0
    labels = tmp_path / "labels.json"
    labels.write_text(
        json.dumps({"prediction_id": next(csv.DictReader(out.read_text().splitlines()))["prediction_id"], "late": 1})
    )
    assert kedge("outcomes", "flights", "--input", labels, "--label", "late", *mine, "--json").json["accepted"] == 1
    assert kedge("predict", "flights", "--input", flights, *ours).status == 2
