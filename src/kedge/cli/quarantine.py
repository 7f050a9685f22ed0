"""`kedge quarantine list | clear`: bundles that were rolled back and wait for a person."""

from __future__ import annotations

from typing import Annotated

import typer

from kedge.cli.common import JsonFlag, emit, examples, new_app
from kedge.cli.connecting import Key, Server, connecting
from kedge.cli.rollout_text import model_payload, quarantined_lines
from kedge.errors import ConfigError

app = new_app()
app.info.epilog = examples(
    "kedge quarantine list", "kedge quarantine clear flights-late-2.0.0 --reason 'pipeline mended'"
)


@app.command("list", epilog=examples("kedge quarantine list"))
@connecting
def list_(*, server: Server, as_json: JsonFlag = False) -> None:
    """Show what may not be deployed until a person says so."""
    with server.client() as client:
        models = list(client.status().models)
    found = [{"model": item.model, **one} for item in models for one in model_payload(item)["quarantined"]]
    emit({"quarantined": found}, *(quarantined_lines(models) or ["nothing is quarantined"]), as_json=as_json)


@app.command(epilog=examples("kedge quarantine clear flights-late-2.0.0 --reason 'pipeline mended'"))
@connecting
def clear(
    *,
    reference: Annotated[
        str, typer.Argument(metavar="ID", help="Id of the bundle, at least 8 digits of it, or NAME-VERSION.")
    ],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; it goes into the audit log. Needed.")] = "",
    key: Key = "",
    server: Server,
    as_json: JsonFlag = False,
) -> None:
    """Allow a rolled back bundle to be deployed again."""
    if not reason.strip():
        raise ConfigError("clearing a quarantine needs --reason TEXT; it goes into the audit log")
    with server.client() as client:
        identity = client.clear_quarantine(reference, reason=reason, key=key)
    emit({"cleared": identity}, f"bundle {identity[:12]} may be deployed again", as_json=as_json)
