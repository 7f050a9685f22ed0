"""TLS and mTLS, and certificates replaced while serving."""

import datetime as dt
import ssl

import grpc
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from kedge_testing import bundles, models
from kedge_testing.serving import SERVICE, request

from kedge import load
from kedge.client.calls import UnreachableError
from kedge.errors import PlaneError
from kedge.plane.contract import Tls


class Authority:
    """Signs certificates for localhost."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tests")])
        self.pem = self._sign(self.name, self.key, authority=True)

    def issue(self) -> tuple[bytes, bytes]:
        """Certificate and key, PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return self._sign(name, key, authority=False), pem

    def _sign(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, authority: bool) -> bytes:
        now = dt.datetime.now(dt.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)


def ask(address: str, credentials: grpc.ChannelCredentials) -> grpc.StatusCode:
    options = [("grpc.ssl_target_name_override", "localhost")]
    message = request("plus", ("x", "FP32", np.zeros((1, 1), np.float32))).SerializeToString()
    with grpc.secure_channel(address, credentials, options) as channel:
        return channel.unary_unary(SERVICE + "ModelInfer").future(message, timeout=10).code()


def test_tls_with_certificates_replaced_while_serving(listen) -> None:
    first, second = Authority(), Authority()
    served = listen(tls=Tls(*first.issue()))
    served.serve(bundles.Recipe(models.plus(1), "plus"))
    trusts_first = grpc.ssl_channel_credentials(first.pem)
    trusts_second = grpc.ssl_channel_credentials(second.pem)
    assert ask(served.address, trusts_first) is grpc.StatusCode.OK
    assert ask(served.address, trusts_second) is grpc.StatusCode.UNAVAILABLE
    served.plane.configure(tls=Tls(*second.issue()))
    assert ask(served.address, trusts_second) is grpc.StatusCode.OK


def test_mtls_asks_for_a_certificate_of_the_clients_own(listen) -> None:
    authority = Authority()
    certificate, key = authority.issue()
    served = listen(tls=Tls(certificate, key, client_ca=authority.pem))
    served.serve(bundles.Recipe(models.plus(1), "plus"))
    client_certificate, client_key = authority.issue()
    known = grpc.ssl_channel_credentials(authority.pem, client_key, client_certificate)
    stranger_certificate, stranger_key = Authority().issue()
    stranger = grpc.ssl_channel_credentials(authority.pem, stranger_key, stranger_certificate)
    assert ask(served.address, known) is grpc.StatusCode.OK
    assert ask(served.address, grpc.ssl_channel_credentials(authority.pem)) is grpc.StatusCode.UNAVAILABLE
    assert ask(served.address, stranger) is grpc.StatusCode.UNAVAILABLE


def test_alpn_is_h2(listen) -> None:
    authority = Authority()
    served = listen(tls=Tls(*authority.issue()))
    context = ssl.create_default_context(cadata=authority.pem.decode())
    context.set_alpn_protocols(["h2"])
    import socket

    host, _, port = served.address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        assert secure.selected_alpn_protocol() == "h2"


def test_certificates_that_are_none_are_refused(listen, make_plane, kernel) -> None:
    plane = make_plane(kernel)
    try:
        plane.configure(tls=Tls(b"no certificate", b"no key"))
        with pytest.raises(PlaneError, match="cannot listen on"):
            plane.start("127.0.0.1:0")
    finally:
        plane.stop()


def test_the_load_generator_checks_who_answers_and_says_who_it_is(listen) -> None:
    pytest.importorskip("kedge._load", reason="this build has no load generator")
    authority, other = Authority(), Authority()
    served = listen(tls=Tls(*authority.issue(), client_ca=authority.pem))
    served.serve(bundles.Recipe(models.plus(1), "plus"))
    messages = [request("plus", ("x", "FP32", np.zeros((1, 1), np.float32))).SerializeToString()]
    plan = load.Plan(closed=4, requests=200, connections=2)
    named = f"localhost:{served.address.rpartition(':')[2]}"
    report = load.run(named, messages, plan, security=load.Security(authority.pem, *authority.issue()))
    assert report.statuses == {"OK": 200}
    for address, security, why in (
        (named, load.Security(other.pem, *authority.issue()), "certificate"),
        (served.address, load.Security(authority.pem, *authority.issue()), "mismatch"),  # it is for a name
        (named, load.Security(authority.pem), "connection"),
        (named, None, "connection"),
    ):
        with pytest.raises(UnreachableError, match=why):
            load.run(address, messages, plan, security=security)
