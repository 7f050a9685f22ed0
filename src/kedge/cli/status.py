"""`kedge status`: what a server is serving."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from kedge.cli.common import JsonFlag, emit, examples, new_app, table
from kedge.cli.moments import lasting, shown
from kedge.client import AdminClient

if TYPE_CHECKING:
    from rich.console import RenderableType

    from kedge.proto import admin as pb

OK = 0

app = new_app()


@app.command(epilog=examples("kedge status", "kedge status flights-late --admin 127.0.0.1:8003 --json"))
def status(
    *,
    model: Annotated[str, typer.Argument(help="Only this model.")] = "",
    admin: Annotated[str, typer.Option(help="Admin port of the server.")] = "127.0.0.1:8003",
    as_json: JsonFlag = False,
) -> None:
    """Show what a server is serving."""
    with AdminClient(admin) as client:
        answer = client.status(model)
    emit(_payload(answer), *_text(answer), as_json=as_json)


def _payload(answer: pb.ServerStatus) -> dict[str, Any]:
    return {
        "kedge_version": answer.kedge_version,
        "plane": answer.plane,
        "kernel": answer.kernel,
        "isa": answer.kernel_isa,
        "uptime_seconds": answer.uptime_seconds,
        "ready": answer.ready,
        "models": [
            {
                "model": item.model,
                "version": item.version,
                "bundle": item.bundle,
                "epoch": item.epoch,
                "live_since": item.live_since,
                "requests": dict(sorted(item.requests.items())),
                "rows": item.rows,
                "has_reference": item.has_reference,
            }
            for item in answer.models
        ],
    }


def _text(answer: pb.ServerStatus) -> list[RenderableType]:
    state = "[green]ready[/]" if answer.ready else "[yellow]not ready[/]"
    head = (
        f"kedge {answer.kedge_version} {state}, up {lasting(answer.uptime_seconds)}, plane {answer.plane}, "
        f"kernel {answer.kernel} ({answer.kernel_isa})"
    )
    if not answer.models:
        return [head, "no model is live"]
    grid = table(
        None, "model", "version", "bundle", "epoch", "live since", "requests", "failed", "rows", "drift",
        right=("epoch", "requests", "failed", "rows"),
    )  # fmt: skip
    for item in answer.models:
        total = sum(item.requests.values())
        grid.add_row(
            escape(item.model),
            escape(item.version),
            item.bundle[:12],
            str(item.epoch),
            shown(item.live_since),
            f"{total:,}",
            f"{total - item.requests.get(OK, 0):,}",
            f"{item.rows:,}",
            "watched" if item.has_reference else "no reference",
        )
    return [head, "", grid]
