"""`kedge audit rotate-key`: give the log of a stopped server a new key."""

from __future__ import annotations

import unicodedata
from pathlib import Path  # noqa: TC003 - typer reads the annotations when it runs
from typing import Annotated, Final

import typer

from kedge import config
from kedge.admin.access import local_actor
from kedge.audit import files, settings
from kedge.audit.reader import Reader
from kedge.audit.record import KEY_ROTATED, Actor, compose
from kedge.cli.audit import State  # noqa: TC001 - as above
from kedge.cli.common import JsonFlag, emit, examples, key_values, new_app
from kedge.errors import ConfigError
from kedge.rollout.state import locked

MAX_NAME: Final = 256
MAX_REASON: Final = 1024

app = new_app()


@app.command(
    "rotate-key", epilog=examples("kedge audit rotate-key --state state --reason 'yearly rotation, ticket 812'")
)
def rotate_key(
    state: State,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; it is recorded.")],
    actor: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who does it, or a pseudonym; the name of this user if not said.")
    ] = None,
    config_file: Annotated[
        Path | None, typer.Option("--config", help="The server's settings, whose section 'audit' holds here too.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Give the log of a stopped server a new key; the record of it is sealed by the old key and the new one.

    The old private key stays in DIR/keys, where nothing needs it any more: take it away if it is not trusted. Whoever
    verifies with --key may pin either.
    """
    Reader(state / files.DATABASE).close()  # there is a log
    section = None if config_file is None else config.load({"state": state}, {}, config_file).audit
    kept = settings.parse(section, f"{config_file}: audit")
    draft = compose(action=KEY_ROTATED, actor=_who(actor), rationale=_line(reason, "--reason", 0, MAX_REASON))
    with locked(state) as directory:
        database = files.connect(directory)
        try:
            log = settings.open_log(directory, database, kept)
            before = log.signer.verifier.vkey
            successor = files.rotate(directory, log, draft)
        finally:
            database.close()
    facts = {"sequence": log.size - 1, "previous": before, "key": successor.verifier.vkey}
    emit(facts, "[green]rotated[/green] the key of the log", key_values(facts), as_json=as_json)


def _who(named: str | None) -> Actor:
    """Whoever is named, as nobody can tell; else the user of this process, whatever its environment says."""
    if named is None:
        return local_actor(unix=True)
    return Actor(name=_line(named, "--actor", 1, MAX_NAME), authenticated_by="none")


def _line(text: str, option: str, least: int, most: int) -> str:
    """Text that can stand in a record. Raises `ConfigError`."""
    if least <= len(text) <= most and not any(unicodedata.category(char) == "Cc" for char in text):
        return text
    raise ConfigError(f"{option}: expected one line of {least} to {most} characters, none of which controls a terminal")
