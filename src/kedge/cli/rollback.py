"""`kedge rollback`: a known-good bundle again, at once; or advice which one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from kedge.cli.common import JsonFlag, emit, examples, new_app, progress, table
from kedge.cli.connecting import Key, Model, Revision, Server, connecting
from kedge.cli.rollout_text import model_lines, model_payload
from kedge.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from kedge.proto import admin as pb

app = new_app()


@app.command(
    epilog=examples(
        "kedge rollback flights-late --reason 'late flights missed since noon'",
        "kedge rollback flights-late --advise",
        "kedge rollback flights-late --to flights-late-1.0.0 --reason 'as advised'",
    )
)
@connecting
def rollback(
    *,
    model: Model,
    to: Annotated[
        str, typer.Option(metavar="ID", help="Which bundle: id or NAME-VERSION. Default: the last good one.")
    ] = "",
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; it goes into the audit log. Needed.")] = "",
    advise: Annotated[
        bool, typer.Option("--advise", help="Change nothing; score every retained bundle against today's traffic.")
    ] = False,
    key: Key = "",
    revision: Revision = None,
    server: Server,
    as_json: JsonFlag = False,
) -> None:
    """Serve a known-good bundle again, at once.

    A rollout under way ends, else the live bundle is replaced; what is taken from traffic is quarantined. The last good
    bundle is loaded and warm. It may no longer be the one that fits today's traffic best: --advise says which does.
    """
    if advise:
        if to or reason:
            raise ConfigError("--advise changes nothing; it takes no --to and no --reason")
        with server.client() as client, progress("replaying current rows", quiet=as_json):
            answer = client.recommend(model)
        emit(_payload(answer), *_text(model, answer), as_json=as_json)
        return
    if not reason.strip():
        raise ConfigError("a rollback needs --reason TEXT; it goes into the audit log (or --advise, to change nothing)")
    with server.client() as client:
        item = client.rollback(model, to=to, reason=reason, key=key, expected=revision)
    hint = [] if to else [f"does it fit today's traffic? kedge rollback {escape(model)} --advise"]
    emit(model_payload(item), *model_lines(item), *hint, as_json=as_json)


def _payload(answer: pb.RecommendRollbackResponse) -> dict[str, Any]:
    fields = ("bundle", "version", "last_good", "fits", "rows_fitting", "inputs", "predictions", "mean_psi", "words")
    return {
        "best": answer.best or None,
        "words": answer.words,
        "rows": answer.rows,
        "bundles": [
            {
                **{name: getattr(item, name) for name in fields},
                "metric": {"name": item.metric, "value": item.metric_value} if item.metric else None,
            }
            for item in answer.bundles
        ],
    }


def _text(model: str, answer: pb.RecommendRollbackResponse) -> list[RenderableType]:
    lines: list[RenderableType] = [escape(answer.words)]
    if not answer.bundles:
        return lines
    grid = table(None, "version", "bundle", "", "fits", "inputs moved", "predictions moved", "evaluated")
    for item in answer.bundles:
        good = "last good" if item.last_good else ""
        fits = "[green]yes[/]" if item.fits else "[red]no[/]"
        metric = f"{item.metric} {item.metric_value:.4g}" if item.metric else ""
        grid.add_row(escape(item.version), item.bundle[:12], good, fits, item.inputs, item.predictions, escape(metric))
    lines += ["", grid, ""]
    best = next((item for item in answer.bundles if item.bundle == answer.best), None)
    if best is not None:
        to = "" if best.last_good else f" --to {escape(model)}-{escape(best.version)}"
        lines.append(f"kedge rollback {escape(model)}{to} --reason TEXT goes there")
    return lines
