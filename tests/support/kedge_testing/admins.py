"""Admin ports that listen: real rollouts on a portable plane, real audit log, real gRPC."""

from __future__ import annotations

import datetime as dt
import ipaddress
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kedge.admin.access import Access, local_actor
from kedge.admin.service import AdminServer, Parts
from kedge.bundle.store import Store
from kedge.client import AdminClient, Credentials
from kedge.config import Address
from kedge.kernel.select import select
from kedge.monitor.panes import Panes
from kedge.plane.portable.plane import PortablePlane
from kedge.rollout.ledger import open_ledger
from kedge.rollout.manager import Rollouts
from kedge.rollout.state import STORE
from kedge.rollout.view import View

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kedge.audit.record import Draft
    from kedge.bundle.contents import Bundle
    from kedge.plane.contract import Tls


@dataclass
class Port:
    """An admin port, and what stands behind it.

    Attributes:
        server, parts: as made.
        drafts: what was appended to the audit log by the port itself.
        admit: takes uploaded archives; may be replaced.
        fail: raised instead of the next records.
    """

    server: AdminServer = field(init=False)
    parts: Parts = field(init=False)
    drafts: list[Draft] = field(default_factory=list)
    admit: Callable[[Path], Bundle] = field(init=False)
    fail: Exception | None = None

    @property
    def rollouts(self) -> Rollouts:
        return self.parts.rollouts

    @property
    def store(self) -> Store:
        return self.parts.store

    def client(self, **credentials: Any) -> AdminClient:
        return AdminClient(self.server.address, timeout=20, credentials=Credentials(**credentials))


@contextmanager
def listening(
    state: Path,
    *,
    access: Access | None = None,
    tls: Tls | None = None,
    address: str = "127.0.0.1:0",
    view: Any = None,
    mutual: Address | None = None,
) -> Iterator[Port]:
    """An admin port over a state directory, until the block ends; `view` takes the place of a real one."""
    state.mkdir(mode=0o700, exist_ok=True)
    kernel = select("reference")
    with ExitStack() as parts:
        plane = PortablePlane(kernel)
        parts.callback(plane.stop)
        store = Store(state / STORE)
        ledger = open_ledger(state)
        rollouts = Rollouts(ledger=ledger, store=store, plane=plane, clock=time.time)
        parts.callback(rollouts.close)
        rollouts.restore()
        view = view or View(
            plane=plane,
            kernel=kernel,
            store=store,
            rollouts=rollouts,
            panes=Panes(time.time),
            clock=time.time,
            ready=lambda: True,
        )
        port = Port()
        port.admit = lambda path: store.add(path, None, rollouts.expect)

        def append(draft: Draft) -> None:
            if port.fail is not None:
                raise port.fail
            ledger.append(draft)
            port.drafts.append(draft)

        def received(draft: Draft) -> None:
            if port.fail is not None:
                raise port.fail
            rollouts.received(draft)
            port.drafts.append(draft)

        def admit(path: Path) -> Bundle:
            return port.admit(path)

        where = Address.parse(address)
        access = access or Access(local=local_actor(unix=where.path is not None))
        port.parts = Parts(
            view=view,
            rollouts=rollouts,
            store=store,
            plane=plane,
            kernel=kernel,
            state=state,
            admit=admit,
            received=received,
            append=append,
        )
        port.server = AdminServer(where, port.parts, access, tls, mutual)
        parts.callback(port.server.stop, 0)
        yield port


class Authority:
    """A certificate authority of a test."""

    def __init__(self, name: str = "test authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self.pem = self._sign(self._name, self._key, days=1, ca=True)

    def pair(self, name: str, *, days: int = 1) -> tuple[bytes, bytes]:
        """Certificate and key (PEM) of a name, for this machine; of negative days it has expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return self._sign(subject, key, days=days, ca=False), secret

    def _sign(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, days: int, ca: bool) -> bytes:
        now = dt.datetime.now(dt.UTC)
        begin, end = sorted((now - dt.timedelta(minutes=5), now + dt.timedelta(days=days)))
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return made.public_bytes(serialization.Encoding.PEM)
