"""`kedge audit list | show | verify | export`: the log of a state directory, read offline and never written."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.markup import escape

from kedge.audit import canonical, files
from kedge.audit import export as packing
from kedge.audit import policy as policies
from kedge.audit import verify as verification
from kedge.audit.counts import COUNTS, CountStore
from kedge.audit.errors import AuditError, KeyFileError
from kedge.audit.merkle import leaf_hash
from kedge.audit.note import Verifier
from kedge.audit.reader import Reader
from kedge.audit.record import Record
from kedge.audit.second import SecondFile
from kedge.cli.common import NO, JsonFlag, emit, examples, key_values, new_app, progress, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from kedge.audit.findings import Report

app = new_app()
app.info.epilog = examples("kedge audit list --state state", "kedge audit verify --state state")

STORE: Final = "store"

State = Annotated[Path, typer.Option("--state", metavar="DIR", help="State directory of a server, running or not.")]
Checkpoints = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The second file of checkpoints; kedge.checkpoints in DIR if not said."),
]
PinnedKey = Annotated[
    str | None,
    typer.Option("--key", metavar="VKEY|FILE", help="The log's verifier key, had from elsewhere than DIR."),
]
Witness = Annotated[
    str | None,
    typer.Option(metavar="VKEY|FILE", help="Verifier key of the witness that cosigned the second file."),
]


@app.command("list", epilog=examples("kedge audit list --state state", "kedge audit list --state state --last 5"))
def list_(
    state: State,
    last: Annotated[int, typer.Option(min=1, max=100_000, metavar="N", help="How many of the newest records.")] = 50,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Only records about this model.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show the newest records, oldest first."""
    with Reader(state / files.DATABASE) as log:
        size = log.size()
        rows = _tail(log, last, model)
    grid = table(None, "seq", "time", "action", "actor", "model", "bundle", "state", right=("seq",))
    for row in rows:
        change = f"{row.previous_state or ''} -> {row.next_state}" if row.next_state else ""
        cells = (row.time.at, row.action, row.actor.name, row.model or "", (row.bundle or "")[:12], change)
        grid.add_row(str(row.sequence), *map(escape, cells))
    emit({"size": size, "records": [_plain(row) for row in rows]}, grid, as_json=as_json)


@app.command(epilog=examples("kedge audit show 17 --state state"))
def show(
    sequence: Annotated[int, typer.Argument(metavar="SEQ", min=0, help="Number of the record, from 0.")],
    state: State,
    as_json: JsonFlag = False,
) -> None:
    """Show all of one record."""
    with Reader(state / files.DATABASE) as log:
        data = log.record(sequence)
    record = Record.parse(data, f"record {sequence}")
    leaf = leaf_hash(data).hex()
    emit({"record": _plain(record), "leaf": leaf}, key_values({**_flat(_plain(record)), "leaf": leaf}), as_json=as_json)


@app.command(epilog=examples("kedge audit verify --state state", "kedge audit verify --state state --key log.vkey"))
def verify(
    state: State,
    key: PinnedKey = None,
    checkpoints: Checkpoints = None,
    witness: Witness = None,
    as_json: JsonFlag = False,
) -> None:
    """Recompute the log from its stored bytes and name what does not fit. Exit status 1 if anything does not."""
    second = _Second(state, checkpoints)
    with Reader(state / files.DATABASE) as log:
        report = _verified(log, state, key, second, witness, quiet=as_json)
    emit(_document(report), *_text(report), as_json=as_json)
    if not report.ok:
        raise NO


@app.command(epilog=examples("kedge audit export --state state -o evidence.zip"))
def export(
    *,
    state: State,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The archive to write.")],
    policy: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Signing policy whose keys attestations are checked with.")
    ] = None,
    key: PinnedKey = None,
    checkpoints: Checkpoints = None,
    with_counts: Annotated[
        bool, typer.Option("--counts/--no-counts", help="Whether the counts that verdicts were judged on come along.")
    ] = True,
    as_json: JsonFlag = False,
) -> None:
    """Write an evidence pack: records, checkpoints, proofs, keys, manifests, counts, and a program that verifies them.

    A log that does not verify is not exported.
    """
    rules = None if policy is None else policies.load(policy)
    second = _Second(state, checkpoints)
    with Reader(state / files.DATABASE) as log:
        report = _verified(log, state, key, second, None, quiet=as_json)
        with progress("packing", report.size, quiet=as_json) as step:
            missing = packing.export(
                log,
                report,
                output,
                store=state / STORE,
                second=second.lines(),
                policy=rules,
                counts=CountStore(state / COUNTS) if with_counts else None,
                advance=step.advance,
            )
    facts = {"path": str(output), "size": report.size, "root": report.root.hex(), "bundles_missing": list(missing)}
    text = f"[green]exported[/green] {report.size} records to {escape(str(output))}, root {report.root.hex()}"
    notes = [f"note: bundle {identity[:12]} is not in the store; its manifest is left out" for identity in missing]
    emit(facts, text, *notes, as_json=as_json)


class _Second:
    """The second file as long as it is before the database is opened: of a running server it may be ahead later."""

    def __init__(self, state: Path, given: Path | None) -> None:
        self._file = SecondFile(given or state / files.CHECKPOINTS)
        self._length = self._file.length()
        if given is not None and self._length is None:
            raise AuditError(f"no file '{given}'")

    def lines(self) -> Iterator[bytes] | None:
        return None if self._length is None else self._file.lines(self._length)


def _verified(
    log: Reader, state: Path, key: str | None, second: _Second, witness: str | None, *, quiet: bool
) -> Report:
    pinned = files.known_keys(state) if key is None else (_verifier(key),)
    witnesses = () if witness is None else (_verifier(witness),)
    with progress("verifying", log.size(), quiet=quiet) as step:
        return verification.verify(log, second.lines(), pinned=pinned, witnesses=witnesses, advance=step.advance)


def _verifier(given: str) -> Verifier:
    """A verifier key, or the file that holds one."""
    path = Path(given)
    if "+" in given and not path.is_file():
        return Verifier.parse(given)
    try:
        return Verifier.parse(path.read_text("ascii", "replace").strip())
    except OSError as error:
        raise KeyFileError(f"'{given}' is neither a verifier key nor a file: {error.strerror}") from error


def _tail(log: Reader, last: int, model: str | None) -> list[Record]:
    """The newest `last` records, of one model if said, in their order."""
    first = max(0, log.size() - last) if model is None else 0
    wanted = None if model is None else canonical.encode(model)
    newest: deque[Record] = deque(maxlen=last)
    for seq, data in log.records(first):
        if wanted is None or wanted in data:  # spares most of the parsing
            record = Record.parse(bytes(data), f"record {seq}")
            if model in {None, record.model}:
                newest.append(record)
    return list(newest)


def _plain(record: Record) -> dict[str, Any]:
    return record.model_dump(mode="json", exclude_none=True)


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, item in value.items():
        if isinstance(item, dict):
            flat |= _flat(item, f"{prefix}{name}.")
        elif item not in ("", []):
            flat[prefix + name] = ", ".join(map(str, item)) if isinstance(item, list) else item
    return flat


def _document(report: Report) -> dict[str, Any]:
    return {
        "ok": report.ok,
        "origin": report.origin,
        "size": report.size,
        "root": report.root.hex(),
        "checkpoints": report.checkpoints,
        "second_file": report.seen,
        "keys": [{"key": one.verifier.vkey, "first": one.first, "last": one.last} for one in report.keys],
        "findings": [{"kind": one.kind.value, "message": one.message} for one in report.findings],
        "remarks": list(report.remarks),
    }


def _text(report: Report) -> Iterator[RenderableType]:
    word = "[green]ok[/green]" if report.ok else "[bold red]NOT ok[/bold red]"
    yield f"{word} log {escape(report.origin)}: {report.size} records, {report.checkpoints} checkpoints"
    for finding in report.findings:
        yield f"[red]{finding.kind.value}[/red]: {escape(finding.message)}"
    yield key_values({"root": report.root.hex(), **{f"key {i}": k.verifier.vkey for i, k in enumerate(report.keys)}})
    for remark in report.remarks:
        yield f"note: {escape(remark)}"
