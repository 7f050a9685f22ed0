"""`kedge bundle build`: from a spec to a bundle."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations when it runs
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from kedge.cli.common import NO, JsonFlag, emit, examples, key_values, new_app, progress, table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from kedge.build import BuildResult
    from kedge.bundle.manifest import Feature

app = new_app()

SHOWN_FEATURES = 40


@app.command("build", epilog=examples("kedge bundle build spec.yaml -o flights-late-1.0.0.kedge"))
def build(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.yaml", help="The spec; its paths are relative to it.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The archive to write.")],
    allow_failed_gates: Annotated[
        bool,
        typer.Option("--allow-failed-gates", help="Write the bundle even if a gate fails; the verdict is recorded."),
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Build a bundle: run the model over its data, measure it, and pack everything into one file.

    Exit status 1, and no file, if a gate of the spec is not met.
    """
    from kedge.build import STAGES  # noqa: PLC0415 - onnx and pyarrow take a second to load, --help must not
    from kedge.build import build as build_bundle  # noqa: PLC0415

    with progress("building", STAGES, quiet=as_json) as step:
        began = 0

        def advance(stage: str) -> None:
            nonlocal began
            if began:
                step.advance()
            began += 1
            step.describe(stage)

        result = build_bundle(spec, output, progress=advance, allow_failed_gates=allow_failed_gates)
    emit(payload(result), *_report(result), as_json=as_json)
    if result.id is None:
        raise NO


def payload(result: BuildResult) -> dict[str, Any]:
    """A build's result as JSON shows it."""
    return {
        "id": result.id,
        "path": None if result.path is None else str(result.path),
        "name": result.name,
        "version": result.version,
        "task": result.task,
        "prediction": None if result.prediction is None else result.prediction.model_dump(mode="json"),
        "inputs": [item.model_dump(mode="json") for item in result.inputs],
        "outputs": [item.model_dump(mode="json") for item in result.outputs],
        "features": [item.model_dump(mode="json") for item in result.features],
        "rows": result.rows,
        "batchable": result.batchable,
        "metrics": [item.model_dump(mode="json") for item in result.metrics],
        "gates": [item.model_dump(mode="json") for item in result.gates],
        "notes": list(result.notes),
    }


def _report(result: BuildResult) -> list[RenderableType]:
    from kedge.build.intervals import METHODS  # noqa: PLC0415 - as above

    said: dict[str, object] = {"model": f"{result.name} {result.version}", "task": result.task}
    if result.prediction is not None:
        found = result.prediction
        of = f" of {', '.join(found.classes[:8])}" if found.classes else ""
        said["prediction"] = f"output '{found.output}': {found.kind}{of}"
    if result.rows:
        said["rows"] = ", ".join(f"{rows:,} {role}" for role, rows in result.rows.items())
    said["batching"] = "rows share a run" if result.batchable else "one request a run"
    parts: list[RenderableType] = [key_values(said)]
    if result.features:
        parts.append(_features(result.features))
    overall = [metric for metric in result.metrics if metric.slice is None]
    if overall:
        grid = table(
            "Metrics on the evaluation data",
            "metric",
            "value",
            "95 % interval",
            "method",
            "rows",
            right=("value", "rows"),
        )
        for metric in overall:
            interval = "" if metric.low is None or metric.high is None else f"{metric.low:.4g} to {metric.high:.4g}"
            grid.add_row(metric.name, f"{metric.value:.4g}", interval, METHODS.get(metric.name, ""), f"{metric.n:,}")
        parts.append(grid)
    if result.gates:
        grid = table("Gates", "gate", "measured", "verdict", right=("measured",))
        for gate in result.gates:
            verdict = "[green]passed[/green]" if gate.passed else "[red]FAILED[/red]"
            grid.add_row(f"{gate.metric} {gate.op} {gate.bound:g}", f"{gate.value:.4g}", verdict)
        parts.append(grid)
    parts.extend(f"note: {escape(note)}" for note in result.notes)
    if result.id is None:
        failed = ", ".join(f"{gate.metric} {gate.op} {gate.bound:g}" for gate in result.gates if not gate.passed)
        parts.append(
            f"[red]not written[/red]: gate {escape(failed)} failed (--allow-failed-gates writes it all the same)"
        )
    else:
        parts.append(key_values({"bundle id": result.id, "written to": result.path}))
    return parts


def _features(features: tuple[Feature, ...]) -> RenderableType:
    grid = table("Features", "name", "kind", "input", "dtype", "missing", "valid or known")
    for feature in features[:SHOWN_FEATURES]:
        low, high = feature.valid.min, feature.valid.max
        known = f"{len(feature.vocabulary)} categories" if feature.kind == "categorical" else ""
        if (low, high) != (None, None):
            known = f"{'' if low is None else f'{low:g}'} to {'' if high is None else f'{high:g}'}"
        missing = repr(feature.missing.value) if feature.missing.kind == "sentinel" else feature.missing.kind
        place = f"{feature.source.tensor}[{feature.source.column}]"
        grid.add_row(*map(escape, (feature.name, feature.kind, place, feature.dtype, missing, known)))
    if len(features) > SHOWN_FEATURES:
        grid.add_row(f"... and {len(features) - SHOWN_FEATURES} more", "", "", "", "", "")
    return grid
