"""`kedge keygen`: a key pair to sign bundles with, or to witness an audit log."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations when it runs
from typing import Annotated

import typer

from kedge.audit import keys
from kedge.audit.note import Signer, check_name
from kedge.cli.common import JsonFlag, emit, examples, key_values, new_app

app = new_app()


@app.command(epilog=examples("kedge keygen build.key", "kedge keygen witness.key --witness example.com/witness"))
def keygen(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the private key goes; FILE.pub gets the other.")],
    witness: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Also print the verifier key of a witness of this name."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Make an Ed25519 key pair. The private key is readable by you alone, and no file is ever written over."""
    if witness is not None:
        check_name(witness)  # before any file is made
    private = keys.generate(file)
    public = keys.public_path(file)
    facts = {"id": keys.key_id(private.public_key()), "private": str(file), "public": str(public)}
    if witness is not None:
        facts["witness"] = Signer(witness, private).witness.vkey
    emit(facts, key_values(facts), as_json=as_json)
