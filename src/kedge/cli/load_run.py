"""`kedge load`: requests at a rate, and what came of them."""

from __future__ import annotations

import time
from pathlib import Path  # noqa: TC003 - typer reads the annotations when it runs
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from kedge import load as generator
from kedge.cli import load_text, plots, rows
from kedge.cli.common import INTERRUPTED, NO, JsonFlag, emit, examples, new_app, progress
from kedge.cli.load_labels import Reporting
from kedge.cli.moments import duration as seconds_of
from kedge.cli.predict import known_columns
from kedge.client import Client, Credentials
from kedge.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from kedge.client import ModelMetadata

app = new_app()


@app.command(
    epilog=examples(
        "kedge load flights-late --input july.parquet --rate 5000 --duration 30s --deadline 50ms",
        "kedge load flights-late --rows random --closed 64 --duration 10s --json",
        "kedge load flights-late --input july.parquet --rate 2000 --duration 5m --plot load.html",
    )
)
def load(
    *,
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    address: Annotated[
        str, typer.Option("--server", help="Data port of the server: any that speaks ModelInfer.")
    ] = "127.0.0.1:8001",
    rate: Annotated[
        float, typer.Option(min=0, show_default=False, help="Requests a second, whatever the server does (open loop).")
    ] = 0.0,
    closed: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, show_default=False, help="Instead: N outstanding, the next when one is answered."
        ),
    ] = 0,
    duration: Annotated[str, typer.Option(help="For so long: 500ms, 10s, 5m, 1h.")] = "10s",
    requests: Annotated[int, typer.Option(min=0, help="At most so many requests; 0: as many as the time gives.")] = 0,
    input_file: Annotated[
        Path | None, typer.Option("--input", help="Rows to ask about: .parquet, .csv (with header) or .json.")
    ] = None,
    random_rows: Annotated[
        Literal["random"] | None, typer.Option("--rows", help="Instead: 4,096 rows made up for the model's inputs.")
    ] = None,
    columns: Annotated[
        str, typer.Option(help="For a model with one [N, F] input: the file's columns in the model's order, as a,b,c.")
    ] = "",
    rows_per_request: Annotated[int, typer.Option(min=1, max=65536, help="Rows a request.")] = 1,
    arrivals: Annotated[
        Literal["poisson", "uniform"],
        typer.Option(help="Gaps between requests: exponential, as of many clients, or all equal."),
    ] = "poisson",
    seed: Annotated[int, typer.Option(min=0, help="Of the arrivals, the order of rows, and random rows.")] = 0,
    connections: Annotated[int, typer.Option(min=1, help="HTTP/2 connections.")] = 8,
    streams: Annotated[int, typer.Option(min=1, help="Outstanding requests a connection, at most.")] = 256,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the generator.")] = 1,
    deadline: Annotated[
        str | None, typer.Option(help="Deadline of each request, such as 50ms: sent along, and what goodput means.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column of the sticky key of a request (kedge_key).")
    ] = None,
    version: Annotated[str, typer.Option(help="Ask this version; by default the server's routes choose.")] = "",
    outcomes: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column of the labels to report of what was predicted.")
    ] = None,
    outcomes_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of predictions whose label to report.")
    ] = 1.0,
    allow_errors: Annotated[
        float, typer.Option(metavar="SHARE", min=0, max=1, help="Share of requests that may fail: 0.01 is 1 %.")
    ] = 0.0,
    plot: Annotated[Path | None, typer.Option(help="Write the run as a chart: .html or .png.")] = None,
    tls_ca: Annotated[Path | None, typer.Option(metavar="FILE", help="PEM CA of the server; turns TLS on.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(metavar="FILE", help="PEM certificate of yours (mTLS).")] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="PEM key of that certificate.")] = None,
    as_json: JsonFlag = False,
) -> None:
    r"""Send requests at a rate and measure what comes of them.

    Latency is measured from the time a request was to be sent, so a server that stalls is charged for all who would
    have waited; service time, from the real sending, stands beside it. Where the generator could not keep to its own
    schedule, it says so. Every answer's grpc-status is checked; what is planned is answered or failed, once.

    Rows are matched to inputs as by kedge predict, sent in an order shuffled by --seed, over and over.

    Ctrl-C ends a run early and shows the figures so far. Latencies are good to 0.4 %.

    Exit status: 0 done, 1 if more requests failed than --allow-errors lets or all connections were lost, 2 for bad
    usage or if no server answers, 130 if it was ended early.
    """
    time_to_answer = seconds_of("--deadline", deadline) if deadline else 0.0
    if deadline and not time_to_answer:
        raise ConfigError("--deadline: 0 leaves no time to answer; leave it out for no deadline")
    plan = generator.Plan(
        rate=rate,
        closed=closed,
        duration=seconds_of("--duration", duration),
        requests=requests,
        arrivals=arrivals,
        seed=seed,
        connections=connections,
        streams=streams,
        deadline=time_to_answer,
        threads=threads,
    )
    if (input_file is None) == (random_rows is None):
        raise ConfigError("give the rows to ask about by --input FILE, or --rows random")
    if input_file is None and (columns or key or outcomes):
        raise ConfigError("--columns, --key and --outcomes name columns of a file: give --input")
    if outcomes and rows_per_request > 1:
        raise ConfigError("--outcomes needs --rows-per-request 1: only such answers carry the prediction's id")
    draw = plots.writer(plot, html="load_html", png="load_png")
    credentials = Credentials(ca=tls_ca, certificate=tls_cert, key=tls_key)
    with Client(address, credentials=credentials.channel()) as client:
        metadata = client.metadata(model, version)
        table = rows.read(input_file) if input_file else None
        keys, labels = _column(table, "--key", key), _column(table, "--outcomes", outcomes)
        if table is None:
            arrays, note = generator.random_rows(metadata, seed), ""
        else:
            asked = tuple(filter(None, columns.split(",")))
            known = () if asked else known_columns(client, metadata, version)
            matched = rows.inputs(_without(table, {key, outcomes}, {*asked, *known}, metadata), metadata, asked, known)
            arrays, note = matched.arrays, " ".join(matched.note.split())
        messages = generator.messages(
            metadata,
            arrays,
            rows_per_request=rows_per_request,
            version=version,
            keys=None if keys is None else [str(value) for value in keys],
            seed=seed,
        )
        order = generator.order(len(messages), seed)
        reporting = Reporting(client, [labels[at] for at in order]) if labels is not None else None
        with progress(load_text.intention(model, plan), total=plan.duration, quiet=as_json) as step:
            report = generator.run(
                address,
                messages,
                plan,
                security=generator.Security.read(credentials),
                on_progress=_follow(step, model),
                labels=generator.Labels(outcomes_share, reporting.report) if reporting else None,
            )
    if plot is not None:
        draw(report, model, plot)
    payload = {
        "model": model,
        **report.json(),
        "labels": reporting.payload() if reporting else None,
        "plot": plot and str(plot),
    }
    lines = load_text.lines(model, report, notes=[note] if note else [])
    if reporting:
        lines.append(reporting.text())
    if plot is not None:
        lines.append(f"plot written to {plot}")
    emit(payload, *lines, as_json=as_json)
    if report.interrupted:
        raise typer.Exit(INTERRUPTED)
    if report.errors > allow_errors or report.lost:
        raise NO


def _without(table: pa.Table, others: set[str | None], wanted: set[str | None], model: ModelMetadata) -> pa.Table:
    """The table without columns that are keys or labels, unless the model takes them too."""
    wanted |= {spec.name for spec in model.inputs}
    return table.drop_columns([name for name in others - wanted if name is not None])


def _column(table: pa.Table | None, flag: str, name: str | None) -> list[Any] | None:
    if name is None or table is None:
        return None
    if name not in table.column_names:
        raise ConfigError(f"{flag}: the file has no column '{name}'; it has: {', '.join(table.column_names)}")
    values: list[Any] = table[name].to_pylist()
    return values


def _follow(step: Any, model: str) -> Callable[[generator.Progress], None]:
    began = last = time.monotonic()

    def look(now: generator.Progress) -> None:
        nonlocal last
        moment = time.monotonic()
        step.describe(load_text.so_far(model, now, moment - began))
        step.advance(moment - last)
        last = moment

    return look
