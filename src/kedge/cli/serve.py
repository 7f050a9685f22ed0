"""`kedge serve`: flags, the ready line, and the end of the process."""

from __future__ import annotations

import logging
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.markup import escape

import kedge
from kedge import config, privileges
from kedge.cli import arenas, logs
from kedge.cli.common import JsonFlag, console, examples, new_app, to_json
from kedge.cli.stopping import Stopping

if TYPE_CHECKING:
    from kedge.app import Server
    from kedge.config import Settings

log = logging.getLogger("kedge.serve")
SIGNALLED: Final = 128
"""Exit status of a server that a second signal stopped: this plus the signal's number, as shells report it."""

app = new_app()


@app.command(
    epilog=examples(
        "kedge serve --state ./state --bundle flights-late-1.0.0.kedge",
        "kedge serve --state ./state --grpc 0.0.0.0:8001 --tls-cert server.pem --tls-key server.key",
        "kedge serve --state ./state --grpc 127.0.0.1:0 --admin unix:/run/kedge/admin.sock --json",
    )
)
def serve(
    *,
    state: Annotated[
        str | None, typer.Option(metavar="DIR", help="Directory of store and database; made if missing.")
    ] = None,
    bundle: Annotated[
        list[Path] | None, typer.Option(help="Archive to deploy if its model has no live bundle; may repeat.")
    ] = None,
    grpc: Annotated[str | None, typer.Option(help="Data port. Default 127.0.0.1:8001.")] = None,
    admin: Annotated[str | None, typer.Option(help="Admin port. Default 127.0.0.1:8003.")] = None,
    metrics: Annotated[str | None, typer.Option(help="Metrics and health port. Default 127.0.0.1:8002.")] = None,
    plane: Annotated[str | None, typer.Option(help="auto, native or portable. Default auto.")] = None,
    kernel: Annotated[str | None, typer.Option(help="auto, native, numba or reference (slow). Default auto.")] = None,
    shards: Annotated[int | None, typer.Option(help="Threads that serve connections. Default: half the cores.")] = None,
    max_connections: Annotated[
        int | None, typer.Option(help="Open at a time on the data port (native plane). Default 4096.")
    ] = None,
    config_file: Annotated[
        Path | None, typer.Option("--config", help="YAML file of these settings; or KEDGE_CONFIG.")
    ] = None,
    drain_grace: Annotated[
        float | None, typer.Option(help="Seconds between 'not ready' and refusing new requests. Default 0.")
    ] = None,
    drain_timeout: Annotated[
        float | None, typer.Option(help="Seconds that requests under way may take at the end. Default 30.")
    ] = None,
    log_format: Annotated[str | None, typer.Option(help="text or json, on standard error. Default text.")] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="PEM certificate chain of the data port; taken up when renewed.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM private key of the data port.")] = None,
    tls_client_ca: Annotated[Path | None, typer.Option(help="PEM CA that clients must be signed by (mTLS).")] = None,
    policy: Annotated[Path | None, typer.Option(help="Signing policy that bundles must meet.")] = None,
    admin_tls_cert: Annotated[Path | None, typer.Option(help="PEM certificate chain of the admin port.")] = None,
    admin_tls_key: Annotated[Path | None, typer.Option(help="PEM private key of the admin port.")] = None,
    admin_tls_client_ca: Annotated[
        Path | None, typer.Option(help="PEM CA that callers of the admin port must be signed by (mTLS).")
    ] = None,
    admin_mtls: Annotated[
        str | None, typer.Option(help="Second address of the admin port, for certificates; --admin then needs none.")
    ] = None,
    admin_tokens: Annotated[
        Path | None, typer.Option(help="File of callers of the admin port; see kedge token new.")
    ] = None,
    retain: Annotated[
        int | None, typer.Option(help="Bundles kept in the store that were live before the last good one. Default 3.")
    ] = None,
    user: Annotated[str | None, typer.Option(help="User to become where started as root.")] = None,
    as_json: JsonFlag = False,
) -> None:
    r"""Serve bundles over gRPC and watch them.

    Addresses are host:port, \[::1]:port or unix:/path; port 0 picks a free one. A flag wins over the environment
    (KEDGE_GRPC, KEDGE_STATE, ...), that over the file of --config.

    Started as root it becomes --user first, who must be able to read bundles, certificates and tokens, and to write the
    state directory; ports below 1024 are then for a proxy in front. It writes no core files and cannot be traced.

    SIGTERM drains: not ready, then --drain-grace, then requests under way end, exit 0. A second signal stops at once.
    With --json one line says when the server is ready and where: {"event": "ready", "grpc": "127.0.0.1:8001", ...}.
    """
    flags = {
        "state": state,
        "bundle": tuple(bundle or ()),
        "grpc": grpc,
        "admin": admin,
        "metrics": metrics,
        "plane": plane,
        "kernel": kernel,
        "shards": shards,
        "max_connections": max_connections,
        "drain_grace": drain_grace,
        "drain_timeout": drain_timeout,
        "log_format": log_format,
        "tls_cert": tls_cert,
        "tls_key": tls_key,
        "tls_client_ca": tls_client_ca,
        "policy": policy,
        "admin_tls_cert": admin_tls_cert,
        "admin_tls_key": admin_tls_key,
        "admin_tls_client_ca": admin_tls_client_ca,
        "admin_mtls": admin_mtls,
        "admin_tokens": admin_tokens,
        "retain": retain,
        "user": user,
    }
    environment = os.environ
    file = config_file or (Path(environment["KEDGE_CONFIG"]) if environment.get("KEDGE_CONFIG") else None)
    settings = config.load(flags, environment, file)
    if settings.user is not None:
        privileges.drop(settings.user, settings.state)
    privileges.harden()
    arenas.limit()
    logs.configure(settings.log_format)
    _run(settings, as_json=as_json)


def _run(settings: Settings, *, as_json: bool) -> None:
    """Serve until told to stop. A second signal ends the process here."""
    from kedge.app import Server  # noqa: PLC0415 - seconds of imports, which what is wrong with a flag need not wait for

    server = Server(settings)
    if privileges.root():
        log.warning("running as root, which a server never needs; name a user without privileges with --user")
    try:
        with Stopping() as stopping:
            _announce(server, as_json=as_json)
            log.info("draining", extra={"data": {"signal": stopping.wait()}})
            if second := _drain(server, stopping):
                # Threads may be inside a model's run, and nobody waits for them any more. The state is transactional.
                log.warning("stopped at once by a second signal")
                logging.shutdown()
                os._exit(SIGNALLED + second)
    finally:
        server.stop()
    log.info("stopped")


def _drain(server: Server, stopping: Stopping) -> int:
    """Drain in a thread of its own, so that a second signal is heard meanwhile. Returns its number, or 0."""

    def work() -> None:
        try:
            if not server.drain():
                log.warning("requests under way did not end within --drain-timeout; they are cut off")
        except Exception:
            log.exception("the drain failed; requests under way are cut off")
        finally:
            stopping.wake()

    threading.Thread(target=work, name="kedge-drain", daemon=True).start()
    return stopping.wait()


def _announce(server: Server, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(to_json({"event": "ready", **server.describe()}) + "\n")
    else:
        console().print(*_ready_lines(server.describe()), sep="\n")
    sys.stdout.flush()


def _ready_lines(ready: dict[str, Any]) -> list[str]:
    where = ", ".join(
        f"{name} {escape(ready[key])}"
        for name, key in (("gRPC", "grpc"), ("metrics", "metrics"), ("admin", "admin"), ("admin mTLS", "admin_mtls"))
        if key in ready
    )
    lines = [
        f"[bold]kedge {kedge.__version__}[/bold] ready: {where}",
        f"plane {ready['plane']}, kernel {ready['kernel']} ({ready['isa']})",
    ]
    lines += [
        f"{m['model']} {m['version']} live, bundle {m['bundle'][:12]}, epoch {m['epoch']}" for m in ready["models"]
    ]
    lines += [f"[yellow]note:[/yellow] {escape(note)}" for note in ready["notes"]]
    return lines
