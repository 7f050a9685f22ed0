"""`kedge predict`: the rows of a file through a served model."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations when it runs
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.markup import escape

from kedge.cli import rows
from kedge.cli.common import JsonFlag, emit, examples, new_app, progress, table
from kedge.client import PREDICTION_IDS, Client, Credentials
from kedge.errors import ConfigError

if TYPE_CHECKING:
    from kedge.client import ModelMetadata, Result

SHOWN = 20

app = new_app()


@app.command(
    epilog=examples(
        "kedge predict flights-late --input july.parquet",
        "kedge predict flights-late --input july.csv --output predictions.parquet --batch 1000",
    )
)
def predict(
    *,
    model: Annotated[str, typer.Argument(help="Name of the model, as its bundle says.")],
    input_file: Annotated[Path, typer.Option("--input", help="Rows: .parquet, .csv (with header) or .json.")],
    server: Annotated[str, typer.Option(help="Data port of the server.")] = "127.0.0.1:8001",
    output: Annotated[
        Path | None, typer.Option(help="Write all predictions here: .parquet, .csv or .json (an object a line).")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, max=65536, help="Rows a request.")] = 256,
    version: Annotated[str, typer.Option(help="Ask this version; by default the server's routes choose.")] = "",
    ids: Annotated[
        bool, typer.Option("--ids", help="Also give every row's prediction id, for kedge outcomes.")
    ] = False,
    columns: Annotated[
        str, typer.Option(help="For a model with one [N, F] input: the file's columns in the model's order, as a,b,c.")
    ] = "",
    tls_ca: Annotated[Path | None, typer.Option(metavar="FILE", help="PEM CA of the server; turns TLS on.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(metavar="FILE", help="PEM certificate of yours (mTLS).")] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="PEM key of that certificate.")] = None,
    as_json: JsonFlag = False,
) -> None:
    r"""Send the rows of a file to a server.

    Columns go to the inputs of the same name. A model with one \[N, F] input takes those of --columns; or the columns
    its bundle names, whatever their order in the file, if the file has them all; or else the file's columns by
    position, and a note on standard error says so. Missing numbers become NaN, missing text becomes the empty string.
    """
    if output is not None:
        rows.check_target(output)
    data = rows.read(input_file)
    if not len(data):
        raise ConfigError(f"--input: '{input_file}' has no rows")
    secure = Credentials(ca=tls_ca, certificate=tls_cert, key=tls_key).channel()
    with Client(server, credentials=secure) as client:
        metadata = client.metadata(model, version)
        asked = tuple(filter(None, columns.split(",")))
        matched = rows.inputs(data, metadata, asked, () if asked else known_columns(client, metadata, version))
        if matched.note:
            sys.stderr.write(f"note: {' '.join(matched.note.split())}\n")
        dtypes = {spec.name: spec.dtype for spec in metadata.inputs}
        wanted = (*(spec.name for spec in metadata.outputs), PREDICTION_IDS) if ids else ()
        parts: list[dict[str, Any]] = []
        versions: dict[str, int] = {}
        with progress(f"predicting {len(data):,} rows", total=len(data), quiet=as_json) as step:
            for start in range(0, len(data), batch):
                part = {name: array[start : start + batch] for name, array in matched.arrays.items()}
                answer = client.infer(model, part, version=version, outputs=wanted, dtypes=dtypes)
                count = min(batch, len(data) - start)
                parts.append(answer.outputs | _ids(answer, wanted))
                versions[answer.model_version] = versions.get(answer.model_version, 0) + count
                step.advance(count)
    predictions = rows.answers({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
    if output is not None:
        rows.write(predictions, output)
    payload: dict[str, Any] = {"model": model, "versions": versions, "rows": len(data)}
    payload |= {"output": str(output)} if output else {"predictions": predictions.to_pylist()}
    by = ", ".join(f"version {name} ({count:,} rows)" for name, count in versions.items())
    emit(payload, *_text(predictions, output), f"answered by {by}", as_json=as_json)


def _ids(answer: Result, wanted: tuple[str, ...]) -> dict[str, Any]:
    """The prediction ids as a column, where they were asked for."""
    if not wanted:
        return {}
    column = np.empty(len(answer.prediction_ids), dtype=object)
    column[:] = [text.encode() for text in answer.prediction_ids]
    return {"prediction_id": column}


def known_columns(client: Client, model: ModelMetadata, version: str) -> tuple[str | None, ...]:
    """The names a model with one [N, F] input has for its columns; empty for other models."""
    if len(model.inputs) != 1 or len(model.inputs[0].shape) != 2:
        return ()
    return client.columns(model.name, version).get(model.inputs[0].name, ())


def _text(predictions: Any, output: Path | None) -> list[Any]:
    if output is not None:
        return [f"wrote {len(predictions):,} predictions to {escape(str(output))}"]
    names = predictions.column_names
    grid = table(None, "row", *names, right=("row", *names))
    for i, row in enumerate(predictions.slice(0, SHOWN).to_pylist()):
        grid.add_row(str(i + 1), *(escape(f"{v:.6g}" if isinstance(v, float) else str(v)) for v in row.values()))
    more = len(predictions) - SHOWN
    return [grid, f"... and {more:,} more rows; --output FILE writes them all"] if more > 0 else [grid]
