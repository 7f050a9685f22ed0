"""The admin port: `kedge.v1.Admin` and `kedge.v1.Audit` on one address, behind one door."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc

from kedge.admin import audit, bundles, events, handlers, outcomes, watch
from kedge.admin.access import ADMIN, AUDIT, OUTCOMES, Access
from kedge.admin.commands import Commands
from kedge.admin.questions import Questions
from kedge.admin.recommend import Recommendations
from kedge.admin.refusals import Refusals
from kedge.admin.tls import Renewable
from kedge.admin.uploads import Uploads
from kedge.errors import ConfigError
from kedge.rollout.state import DATABASE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kedge.audit.record import Draft
    from kedge.bundle.contents import Bundle
    from kedge.bundle.store import Store
    from kedge.config import Address
    from kedge.kernel.contract import Kernel
    from kedge.monitor.outcomes.report import OutcomesReport
    from kedge.monitor.verdict import Judgement
    from kedge.plane.contract import DataPlane, Tls
    from kedge.rollout.manager import Rollouts
    from kedge.rollout.view import View

MAX_MESSAGE_BYTES: Final = 1024 * 1024
"""Of a message: a chunk of an upload or its attestations, and what frames them."""
THREADS: Final = 16
"""For questions and commands; every stream holds one more. A deployment holds one for seconds, and status and rollback
must not wait for it."""
CALLS: Final = 256
"""At a time, those that wait for a thread included; more are refused at once."""
STREAMS: Final = bundles.UPLOADERS + events.WATCHERS + audit.WATCHERS + watch.WATCHERS
CONNECTIONS: Final = 64
"""At a time, at each address: every one is a file, and what is not the data port shares 256 of them."""
HANDSHAKE_MS: Final = 10_000
"""From a connection to the end of its handshake; a client that says nothing gives its place back."""
PROBE_MS: Final = 30_000
"""Between two pings to a silent client; one that vanished frees its thread after about twice that."""


@dataclass(frozen=True)
class Parts:
    """What the port asks and tells.

    Attributes:
        view: counts and verdicts.
        rollouts: what is deployed.
        store: of bundles.
        plane, kernel: run and count what advice rests on.
        state: the state directory.
        admit: takes an archive into the store, if it may come in.
        received: records that a bundle came in.
        append: to the audit log.
        outcomes: what labels say of a model, or of all; see `kedge.admin.outcomes`.
        labelled: verdicts on them; see `Watch`.
    """

    view: View
    rollouts: Rollouts
    store: Store
    plane: DataPlane
    kernel: Kernel
    state: Path
    admit: Callable[[Path], Bundle]
    received: Callable[[Draft], object]
    append: Callable[[Draft], object]
    outcomes: Callable[[str], Sequence[OutcomesReport]] = lambda _: ()
    labelled: Callable[[], Sequence[Judgement]] = tuple


class AdminServer:
    """Serves the admin port until stopped.

    Args:
        address: off loopback only with `tls` and callers in `access`; `kedge.config` refuses others.
        parts: what the answers are made of.
        access: who may call what.
        tls: for the port; with a client CA every caller needs a certificate, but see `mutual`.
        mutual: a second address; then callers need a certificate there, and at the first one none. (A gRPC server of
            Python either demands certificates or does not ask for them.)

    Attributes:
        address: as bound.
        mutual: the second one as bound, or None.

    Raises:
        ConfigError: the address cannot be listened on, or the certificates do not fit.
    """

    def __init__(
        self, address: Address, parts: Parts, access: Access, tls: Tls | None = None, mutual: Address | None = None
    ) -> None:
        options = (
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_allowed_incoming_connections", CONNECTIONS),
            ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
            ("grpc.keepalive_time_ms", PROBE_MS),
            ("grpc.keepalive_timeout_ms", PROBE_MS),
        )
        threads = ThreadPoolExecutor(THREADS + STREAMS, "kedge-admin")
        self._server = grpc.server(threads, options=options, maximum_concurrent_rpcs=CALLS)
        self._streams = (
            watch.Watch(parts.view, parts.labelled),
            events.Events(parts.rollouts),
            audit.Audit(parts.state / DATABASE),
        )
        verdicts, happened, logged = self._streams
        uploads = Uploads(parts.state, parts.view.clock)
        asked = {
            **Questions(parts.view, parts.rollouts).methods(),
            **Recommendations(parts.rollouts, parts.store, parts.plane, parts.kernel).methods(),
            **Commands(parts.rollouts, parts.store).methods(),
            **bundles.Bundles(parts.store, parts.rollouts, uploads, parts.admit, parts.received).methods(),
            **verdicts.methods(),
            **happened.methods(),
        }
        labels = outcomes.OutcomeReports(parts.outcomes, parts.view.clock)
        refusals = Refusals(parts.append, parts.view.clock)
        self._server.add_generic_rpc_handlers(
            (
                handlers.service(ADMIN, asked, access, refusals),
                handlers.service(AUDIT, logged.methods(), access, refusals),
                handlers.service(OUTCOMES, labels.methods(), access, refusals),
            )
        )
        self._renewable = None if tls is None else Renewable(tls)
        demands = tls is not None and tls.client_ca is not None
        self.address = self._listen("admin", address, demands=demands and mutual is None)
        self.mutual = None if mutual is None else self._listen("admin-mtls", mutual, demands=True)
        self._server.start()

    def renew(self, tls: Tls) -> None:
        """Use these certificates for connections from now on; thread-safe."""
        if self._renewable is not None:
            self._renewable.renew(tls)

    def _listen(self, flag: str, address: Address, *, demands: bool) -> str:
        try:
            if self._renewable is None:
                port = self._server.add_insecure_port(str(address))
            else:
                port = self._server.add_secure_port(str(address), self._renewable.credentials(demands=demands))
        except RuntimeError as error:
            raise ConfigError(f"--{flag}: cannot listen on {address}: {_why(error)}") from error
        if port == 0 and address.path is None:
            raise ConfigError("--admin-tls-cert, --admin-tls-key: these do not make a TLS server; is it one pair?")
        if address.path is not None:  # whoever may open it is taken for its owner
            Path(address.path).chmod(0o600)
        return str(address if address.path is not None else type(address)(address.host, port))

    def stop(self, grace: float = 1.0) -> None:
        """Refuse new calls and give those under way `grace` seconds."""
        for streams in self._streams:
            streams.stop()
        self._server.stop(grace).wait()


def _why(error: Exception) -> str:
    return (
        "the address is in use" if "in use" in str(error) else "it is taken, not of this machine, or needs privileges"
    )
