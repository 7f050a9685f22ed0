"""`kedge status`: what a server is serving, and how its rollouts stand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from kedge.cli import status_watch
from kedge.cli.common import JsonFlag, emit, examples, new_app, table
from kedge.cli.connecting import Server, connecting
from kedge.cli.moments import lasting, shown
from kedge.cli.rollout_text import OK, model_payload, quarantined_lines, rollout_lines, under_way

if TYPE_CHECKING:
    from rich.console import RenderableType

    from kedge.proto import admin as pb

app = new_app()


@app.command(
    epilog=examples(
        "kedge status", "kedge status flights-late --watch", "kedge status flights-late --admin 127.0.0.1:8003 --json"
    )
)
@connecting
def status(
    *,
    model: Annotated[str, typer.Argument(help="Only this model.")] = "",
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Show steps, shares and the evidence towards each decision, until interrupted."),
    ] = False,
    server: Server,
    as_json: JsonFlag = False,
) -> None:
    """Show what a server is serving and how its rollouts stand.

    With --watch, once a second; with --watch --json one line of JSON a second.
    """
    if watch:
        status_watch.follow(server, model, payload, as_json=as_json)
        return
    with server.client() as client:
        answer = client.status(model)
    emit(payload(answer), *_text(answer), as_json=as_json)


def payload(answer: pb.ServerStatus) -> dict[str, Any]:
    """A status for JSON."""
    return {
        "kedge_version": answer.kedge_version,
        "plane": answer.plane,
        "kernel": answer.kernel,
        "isa": answer.kernel_isa,
        "uptime_seconds": answer.uptime_seconds,
        "ready": answer.ready,
        "models": [
            {
                **model_payload(item),
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
        if not item.bundle:
            grid.add_row(escape(item.model), "none is live")
            continue
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
    lines: list[RenderableType] = [head, "", grid]
    for item in answer.models:
        if under_way(item):
            fits = f"fits now: {', '.join(item.legal)} (revision {item.revision})"
            lines += ["", *rollout_lines(item), fits]
        if item.unrecorded:
            lines.append(f"[bold red]not yet in the audit log:[/] {escape(item.unrecorded)}")
    quarantined = quarantined_lines(list(answer.models))
    return [*lines, *(["", *quarantined] if quarantined else [])]
