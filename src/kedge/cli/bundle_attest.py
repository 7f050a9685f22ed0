"""`kedge bundle attest`: say more about an archive than that it is yours."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations when it runs
from typing import Annotated

import typer

from kedge.audit.roles import Role  # noqa: TC001 - as above
from kedge.cli.bundle_sign import Archive, Key, read_claims, write, write_provenance
from kedge.cli.common import JsonFlag, examples, new_app

app = new_app()


@app.command(
    "attest",
    epilog=examples(
        "kedge bundle attest flights-late-1.0.0.kedge --key eval.key --claims results.json",
        "kedge bundle attest flights-late-1.0.0.kedge --key build.key --provenance",
    ),
)
def attest(
    *,
    file: Archive,
    key: Key,
    role: Annotated[Role, typer.Option(help="The role you speak in.")] = "evaluator",
    claims: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="What you found: a JSON object that is signed along.")
    ] = None,
    provenance: Annotated[
        bool, typer.Option("--provenance", help="Sign the bundle's provenance instead: an SLSA statement, no role.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Attest to an archive in a role, with claims of your own, such as the results of an evaluation.

    Like a signature the attestation is written beside the archive, which does not change. With --provenance the
    statement is one of SLSA provenance (slsa.dev/provenance/v1): its predicate is the bundle's provenance.json, its
    subjects are the bundle and the archive, and any tool that knows DSSE and in-toto can read it.
    """
    if provenance:
        if claims is not None:
            raise typer.BadParameter("--provenance signs what the bundle says, not --claims")
        write_provenance(file, key, as_json=as_json)
        return
    write(file, key, role, {} if claims is None else read_claims(claims), as_json=as_json)
