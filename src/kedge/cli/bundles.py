"""`kedge bundles list | get | upload | delete`: the store of a running server."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - typer reads the annotations when it runs
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from kedge.cli.common import JsonFlag, emit, examples, key_values, new_app, table
from kedge.cli.connecting import Key, Reason, Server, connecting
from kedge.cli.deploy import upload as send
from kedge.errors import BundleError, ConfigError

if TYPE_CHECKING:
    from kedge.proto import admin as pb

app = new_app()
app.info.epilog = examples("kedge bundles list", "kedge bundles upload flights-late-2.0.0.kedge")

Reference = Annotated[str, typer.Argument(metavar="ID", help="Id, at least 8 digits of it, or NAME-VERSION.")]


@app.command("list", epilog=examples("kedge bundles list", "kedge bundles list --model flights-late --json"))
@connecting
def list_(
    *,
    model: Annotated[str, typer.Option(metavar="NAME", help="Only bundles of this model.")] = "",
    server: Server,
    as_json: JsonFlag = False,
) -> None:
    """Show every bundle in the store."""
    with server.client() as client:
        answer = client.bundles(model)
    grid = table(None, "name", "version", "bundle", "bytes", "state", right=("bytes",))
    for item in answer.bundles:
        state = escape(item.state.lower() or "never deployed")
        grid.add_row(escape(item.name), escape(item.version), item.id[:12], f"{item.size:,}", state)
    damaged = [f"[red]damaged[/] {escape(one)}: delete it and upload its archive again" for one in answer.damaged]
    body = [grid] if answer.bundles else ["the store holds no such bundle" if model else "the store is empty"]
    payload = {"bundles": [_payload(item) for item in answer.bundles], "damaged": list(answer.damaged)}
    emit(payload, *body, *damaged, as_json=as_json)


@app.command(epilog=examples("kedge bundles get flights-late-2.0.0", "kedge bundles get 3f2a91c0 --json"))
@connecting
def get(*, reference: Reference, server: Server, as_json: JsonFlag = False) -> None:
    """Show one bundle of the store; with --json its manifest too."""
    with server.client() as client:
        answer = client.bundle(reference)
    facts = _payload(answer.bundle)
    emit({**facts, "manifest": json.loads(answer.manifest)}, key_values(facts), as_json=as_json)


@app.command(epilog=examples("kedge bundles upload flights-late-2.0.0.kedge --reason 'trained to June'"))
@connecting
def upload(
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A bundle archive.")],
    reason: Reason = "",
    server: Server,
    as_json: JsonFlag = False,
) -> None:
    """Send an archive, and the signatures beside it, to the store; nothing is deployed.

    An upload that broke off goes on where it was: run the same command again within a day.
    """
    if not file.is_file():
        raise BundleError(f"'{file}' is not a file")
    with server.client() as client:
        identity = send(client, file, reason, quiet=as_json)
        bundle = client.bundle(identity).bundle
    text = f"[green]stored[/] {escape(bundle.name)} {escape(bundle.version)}, bundle {bundle.id[:12]}"
    emit(_payload(bundle), text, as_json=as_json)


@app.command(epilog=examples("kedge bundles delete flights-late-1.0.0 --reason 'no longer needed'"))
@connecting
def delete(
    *,
    reference: Reference,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; it goes into the audit log. Needed.")] = "",
    key: Key = "",
    server: Server,
    as_json: JsonFlag = False,
) -> None:
    """Remove a bundle from the store; one that is loaded stays."""
    if not reason.strip():
        raise ConfigError("deleting a bundle needs --reason TEXT; it goes into the audit log")
    with server.client() as client:
        identity = client.delete(reference, reason=reason, key=key)
    emit({"deleted": identity}, f"deleted bundle {identity[:12]}", as_json=as_json)


def _payload(item: pb.Bundle) -> dict[str, Any]:
    return {name: getattr(item, name) for name in ("id", "name", "version", "size", "state", "reason")}
