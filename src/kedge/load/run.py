"""Runs the generator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from kedge.client.calls import UnreachableError
from kedge.config import Address
from kedge.errors import ConfigError
from kedge.load import report

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kedge.load.plan import Plan, Security
    from kedge.load.report import Report

LOOK: Final = 0.2
"""Seconds between two looks at a run."""


@dataclass(frozen=True)
class Progress:
    """How far a run is: requests planned, answered OK, and failed in whatever way, so far."""

    planned: int
    ok: int
    not_ok: int


@dataclass(frozen=True)
class Labels:
    """What is to become of prediction ids.

    Attributes:
        share: of OK answers whose id is handed out; at most 65,536 of a look are kept, those beyond are dropped.
        report: takes pairs of prediction id and index of the message it answers, in this thread, while the run goes on.
    """

    share: float
    report: Callable[[Sequence[tuple[str, int]]], None]


def run(
    address: str,
    messages: Sequence[bytes],
    plan: Plan,
    *,
    security: Security | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    labels: Labels | None = None,
) -> Report:
    """Send requests as planned, and wait for what comes of them.

    The work is done by threads of its own, without the GIL. KeyboardInterrupt ends the run early: its report is
    returned, marked as interrupted.

    Args:
        address: ``host:port``, ``[::1]:port`` or ``unix:/path`` of the server's data port.
        messages: serialised ModelInferRequests without an id, sent in turn.
        plan: how much, how fast and over what.
        security: TLS; None for plain text.
        on_progress: called in this thread five times a second.
        labels: what is to become of prediction ids; None: nothing.

    Raises:
        ConfigError: there are no messages, the address is none, a certificate is not usable, or this build has no
            generator.
        UnreachableError: no connection can be had.
    """
    if not messages:
        raise ConfigError("there are no requests to send")
    where = Address.parse(address)
    native = _native()
    try:
        generator = native.Generator(_options(where, plan, security, labels), list(messages))
    except (native.StartError, RuntimeError) as error:
        raise ConfigError(f"the load generator cannot be set up for {address}: {error}") from error
    try:
        generator.start()
    except native.StartError as error:
        raise UnreachableError(f"no connection to {address}: {error}; is a gRPC server listening there?") from error
    interrupted = _watch(generator, on_progress, labels)
    return report.from_tally(address, plan, generator.tally(), interrupted=interrupted)


def _watch(generator: Any, on_progress: Callable[[Progress], None] | None, labels: Labels | None) -> bool:
    """Wait for the end; true where somebody wanted it sooner."""
    interrupted = False
    while True:
        try:
            done = generator.wait(LOOK)
            if on_progress is not None:
                on_progress(Progress(*generator.progress()))
            if labels is not None and (pairs := generator.take_samples()):
                labels.report([(text.decode("ascii", "replace"), at) for text, at in pairs])
            if done:
                return interrupted
        except KeyboardInterrupt:
            interrupted = True
            generator.stop()
        except BaseException:
            generator.stop()
            raise


def _native() -> Any:
    try:
        from kedge import _load  # noqa: PLC0415 - absent from builds without the native plane
    except ImportError as error:
        raise ConfigError(
            "this build of Kedge has no load generator (kedge._load); it comes with the native data plane, on Linux: "
            f"pip install Kedge where there are a C++ compiler, nghttp2 and OpenSSL ({error})"
        ) from error
    return _load


def _options(where: Address, plan: Plan, security: Security | None, labels: Labels | None) -> dict[str, Any]:
    return {
        "host": where.host,
        "port": where.port,
        "socket": where.path or "",
        "path": plan.method,
        "timeout": plan.timeout,
        "ca": security.ca if security else b"",
        "certificate": security.certificate if security else b"",
        "key": security.key if security else b"",
        "rate": plan.rate,
        "closed": plan.closed,
        "poisson": plan.arrivals == "poisson",
        "seed": plan.seed,
        "duration_ns": round(plan.duration * 1e9),
        "requests": plan.requests,
        "connections": plan.connections,
        "streams": plan.streams,
        "deadline_ns": round(plan.deadline * 1e9),
        "grace_ns": round(plan.grace * 1e9),
        "threads": plan.threads,
        "sample_share": labels.share if labels else 0.0,
    }
