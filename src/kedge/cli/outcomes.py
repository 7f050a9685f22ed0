"""`kedge outcomes`: labels of a file to a server, and what the labels it has say."""

from __future__ import annotations

import itertools
from pathlib import Path  # noqa: TC003 - typer reads the annotations when it runs
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.markup import escape

from kedge.cli import outcomes_text, rows
from kedge.cli.common import NO, JsonFlag, emit, examples, key_values, new_app, progress
from kedge.cli.connecting import Model, Server, connecting
from kedge.client import Client, Reported
from kedge.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

BATCH: Final = 1000
"""Labels a message: small enough for the progress bar to move."""
IDS: Final = "prediction_id"
REFUSED: Final = ("expired", "forged", "unknown_bundle", "invalid")

app = new_app()


@app.command(
    epilog=examples(
        "kedge outcomes flights-late --input landed.parquet --label late",
        "kedge outcomes flights-late",
        "kedge outcomes flights-late --json",
    )
)
@connecting
def outcomes(
    server: Server,
    *,
    model: Model,
    input_file: Annotated[
        Path | None, typer.Option("--input", help="Labels: .parquet, .csv (with header) or .json, a row a prediction.")
    ] = None,
    ids: Annotated[str, typer.Option(help="Column of the prediction ids.")] = IDS,
    label: Annotated[
        str | None, typer.Option(help="Column of the labels. Default: the only other one, or 'label'.")
    ] = None,
    grpc: Annotated[
        str, typer.Option("--server", help="Data port of the server, which takes the labels of --input.")
    ] = "127.0.0.1:8001",
    as_json: JsonFlag = False,
) -> None:
    """Report labels to a server, or show what the labels it has say.

    With --input, every row's label goes to the prediction its id names; the ids came with the answers (kedge predict
    --ids writes them). Text is the name of a class; a number is the true value or, for classes, the class of that name.
    Rows without a label are left out. Reporting a file twice counts nothing twice.

    With --input the options of TLS are for the data port, which is asked then; else for the admin port.

    Without --input, accuracy by the time of the prediction: closed cohorts, whose labels are complete, are judged;
    younger ones are shown. Then the
    same by slice, beside what was measured at build, where the spec names slices. Rows predicted are counted every ten
    seconds, so that of the last seconds there may be labels already and rows not yet.

    Exit status: 0, 1 if some labels were refused or something stands CRITICAL, 2 for bad input.
    """
    if input_file is None:
        if label is not None or ids != IDS:
            raise ConfigError("--label and --ids name columns of the labels to report: give their file by --input")
        _show(model, server, as_json=as_json)
    else:
        with Client(grpc, credentials=server.credentials.channel()) as client:
            _report(client, model, rows.read(input_file), (ids, label), as_json=as_json)


def _show(model: str, server: Server, *, as_json: bool) -> None:
    with server.client() as client:
        report = client.outcomes(model)
    payload = outcomes_text.payload(report)
    emit(payload, *outcomes_text.lines(model, report), as_json=as_json)
    if any(verdict.verdict == "CRITICAL" for bundle in report.bundles for verdict in bundle.verdicts):
        raise NO


def _report(client: Client, model: str, data: pa.Table, columns: tuple[str, str | None], *, as_json: bool) -> None:
    pairs = _pairs(data, *columns)
    total, empty = Reported(), 0
    client.metadata(model)
    with progress(f"reporting {len(data):,} labels", total=len(data), quiet=as_json) as step:
        for part in _batched(pairs):
            labelled = [(text, value) for text, value in part if value is not None]
            empty += len(part) - len(labelled)
            total += client.report(labelled, batch=BATCH)
            step.advance(len(part))
    counts = {name: getattr(total, name) for name in ("accepted", "late", "duplicate", *REFUSED)}
    shown = {name.replace("_", " "): f"{count:,}" for name, count in counts.items() if count or name == "accepted"}
    notes = [f"{empty:,} rows have no label and were left out"] if empty else []
    if total.late:
        notes.append("late labels are counted apart: their cohorts were closed (outcomes.maturity_seconds of the spec)")
    payload = {"model": model, "rows": len(data), "without_label": empty, **counts}
    emit(payload, f"{len(data):,} rows reported to {escape(model)}", key_values(shown), *notes, as_json=as_json)
    if any(counts[name] for name in REFUSED):
        raise NO


def _pairs(data: pa.Table, ids: str, label: str | None) -> Iterator[tuple[str, Any]]:
    """Prediction ids and labels, row by row. Raises `ConfigError` where the columns are not what they must be."""
    names = data.column_names
    if not len(data):
        raise ConfigError("--input: the file has no rows")
    if ids not in names:
        raise ConfigError(f"--ids: the file has no column '{ids}'; it has: {', '.join(names)}")
    others = [name for name in names if name != ids]
    chosen = label or (others[0] if len(others) == 1 else "label")
    if chosen not in others:
        raise ConfigError(f"--label: say which column holds the labels; there are: {', '.join(others) or 'none'}")
    texts = data[ids].to_pylist()
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise ConfigError(f"--ids: row {row + 1} of column '{ids}' holds no text, so no prediction id")
    labels = data[chosen].to_pylist()
    for row, value in enumerate(labels):
        if value is not None and not isinstance(value, str | int | float):
            raise ConfigError(f"--label: row {row + 1} of column '{chosen}' holds neither text nor a number")
    return zip(texts, labels, strict=True)


def _batched(pairs: Iterator[tuple[str, Any]]) -> Iterator[tuple[tuple[str, Any], ...]]:
    while part := tuple(itertools.islice(pairs, BATCH)):
        yield part
