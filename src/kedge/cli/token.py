"""`kedge token new | list | revoke`: callers of the admin port that are known by a bearer token."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from kedge.admin import tokens
from kedge.cli.common import JsonFlag, console, emit, examples, new_app, table

app = new_app()
app.info.epilog = examples("kedge token new alice --role operator --tokens tokens", "kedge token list --tokens tokens")

File = Annotated[
    Path, typer.Option("--tokens", metavar="FILE", help="File of tokens, as `kedge serve --admin-tokens` takes it.")
]
Name = Annotated[str, typer.Argument(help="Who the caller is, for the audit log.")]


@app.command(epilog=examples("kedge token new alice --role operator --tokens tokens > alice.token"))
def new(
    *,
    name: Name,
    role: Annotated[str, typer.Option(metavar="ROLE", help="viewer, operator, deployer or admin.")],
    file: File,
    as_json: JsonFlag = False,
) -> None:
    """Make a token and print it, this once: only its SHA-256 is kept.

    A running server knows it from the next call on.
    """
    token = tokens.new(file, name, role)
    emit({"name": name, "role": role, "token": token}, token, as_json=as_json)
    if not as_json:
        console(stderr=True).print(f"{escape(name)} may now call as {escape(role)}; the token is not shown again")


@app.command("list", epilog=examples("kedge token list --tokens tokens"))
def list_(*, file: File, as_json: JsonFlag = False) -> None:
    """Show who has a token."""
    known = tokens.read(file)
    grid = table(None, "name", "role")
    for token in known:
        grid.add_row(escape(token.name), token.role)
    emit({"tokens": [{"name": token.name, "role": token.role} for token in known]}, grid, as_json=as_json)


@app.command(epilog=examples("kedge token revoke alice --tokens tokens"))
def revoke(*, name: Name, file: File, as_json: JsonFlag = False) -> None:
    """Revoke a caller's token: a running server refuses it from the next call on."""
    tokens.revoke(file, name)
    emit({"revoked": name}, f"the token of {escape(name)} is revoked", as_json=as_json)
