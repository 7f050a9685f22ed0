"""`kedge audit replay`: judge a record again from the counts and the bundle that were kept."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from kedge.audit import files
from kedge.audit.counts import COUNTS, CountStore
from kedge.audit.reader import Reader
from kedge.audit.record import Record
from kedge.audit.settings import software
from kedge.bundle.contents import Bundle
from kedge.cli.audit import STORE, State
from kedge.cli.common import NO, JsonFlag, emit, examples, new_app, table
from kedge.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.console import RenderableType

    from kedge.monitor.frame import Frame
    from kedge.rollout.record_replay import Replay

app = new_app()


@app.command("replay", epilog=examples("kedge audit replay 17 --state state"))
def replay(
    sequence: Annotated[int, typer.Argument(metavar="SEQ", min=0, help="Number of the record, from 0.")],
    state: State,
    as_json: JsonFlag = False,
) -> None:
    """Judge a record again from the counts and the bundle that were kept, and compare.

    Exit status 1 if anything comes out otherwise, or the counts are gone. Run kedge audit verify first: this command
    takes the record as it stands.
    """
    from kedge.monitor.frame import Frame  # noqa: PLC0415 - scipy takes a second to load, other commands must not
    from kedge.rollout.record_replay import replay as judge_again  # noqa: PLC0415 - as above

    with Reader(state / files.DATABASE) as log:
        record = Record.parse(log.record(sequence), f"record {sequence}")

    @functools.cache
    def frame(identity: str) -> Frame:
        return Frame.of(_bundle(state, identity))

    result = judge_again(record, CountStore(state / COUNTS), frame)
    program = software()
    emit(_document(result, record, program), *_text(result, record, program), as_json=as_json)
    if not result.equal:
        raise NO


def _bundle(state: Path, identity: str) -> Bundle:
    """A bundle of the store, which is read and never written: a server may be running."""
    directory = state / STORE / "sha256" / identity
    if len(identity) != 64 or not directory.is_dir():
        raise BundleError(f"bundle {identity[:12]} is not in '{state / STORE}'")
    bundle = Bundle.read(directory)
    if bundle.id != identity:
        raise BundleError(f"bundle {identity[:12]} in '{state / STORE}' is damaged: its SHA-256 is not its id")
    return bundle


def _document(result: Replay, record: Record, program: str) -> dict[str, Any]:
    return {
        "equal": result.equal,
        "sequence": result.sequence,
        "action": result.action,
        "checked": list(result.checked),
        "differences": [
            {"what": one.what, "field": one.field, "recorded": one.recorded, "recomputed": one.recomputed}
            for one in result.differences
        ],
        "gone": list(result.gone),
        "recorded_by": record.software,
        "recomputed_by": program,
    }


def _text(result: Replay, record: Record, program: str) -> Iterator[RenderableType]:
    what = f"record {result.sequence} ({result.action}): {len(result.checked)} computed again"
    if result.equal:
        yield f"[green]equal[/green] {what}, nothing differs"
    elif result.differences:
        yield f"[bold red]DIFFERS[/bold red] {what}"
    else:
        yield f"[bold red]NOT replayed[/bold red] {what}, of the rest the evidence is gone"
    for name in result.checked:
        yield f"  {escape(name)}"
    if result.differences:
        grid = table(None, "what", "field", "recorded", "recomputed")
        for one in result.differences:
            grid.add_row(*map(escape, (one.what, one.field, one.recorded, one.recomputed)))
        yield grid
    yield from (f"[red]gone[/red]: {escape(text)}" for text in result.gone)
    if record.software != program:
        yield f"note: recorded by {escape(record.software)}, computed again by {escape(program)}"
