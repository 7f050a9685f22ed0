"""`kedge bundle card`: a model card from what a bundle says."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations when it runs
from typing import Annotated

import typer
from rich.markup import escape

from kedge.bundle import card as cards
from kedge.cli.bundle import Archive, read
from kedge.cli.common import JsonFlag, emit, examples, new_app

app = new_app()


@app.command("card", epilog=examples("kedge bundle card flights-late-1.0.0.kedge -o card.md"))
def card(
    bundle: Archive,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE.md", help="Where it goes.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Write the model card that follows from a bundle: purpose, data, metrics with intervals, limits, limitations.

    A bundle whose spec names no card of its own carries this one as docs/modelcard.md.
    """
    with read(bundle, quiet=as_json) as opened:
        text, identity = cards.render(cards.Described.of(opened)), opened.id
    if output is not None:
        output.write_text(text, encoding="utf-8")
        facts = {"id": identity, "path": str(output)}
        emit(facts, f"[green]written[/green] card of {identity[:12]} to {escape(str(output))}", as_json=as_json)
    elif as_json:
        emit({"id": identity, "card": text}, as_json=True)
    else:
        sys.stdout.write(text)
