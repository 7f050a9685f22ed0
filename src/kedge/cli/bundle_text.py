"""How `kedge bundle` shows bundles: tables for people, plain values for --json."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.markup import escape

from kedge.cli.common import key_values, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import RenderableType

    from kedge.bundle.contents import Bundle
    from kedge.bundle.diff import Section
    from kedge.bundle.manifest import Feature

_LONGEST = 60
"""Characters of a value in a comparison before it is cut: lists of counts say nothing to a reader."""


def verdict(result: Mapping[str, Any]) -> str:
    """One line for one verified file."""
    file = escape(result["file"])
    if not result["ok"]:
        return f"[red]refused[/red] {file}: {escape(result['reason'])}"
    return f"[green]ok[/green] {file}: {escape(result['name'])} {escape(result['version'])} {result['id']}"


def document(bundle: Bundle) -> dict[str, Any]:
    """All of a bundle's JSON files, under their names."""
    parts = {
        "manifest": bundle.manifest,
        "schema": bundle.schema,
        "serving": bundle.serving,
        "distributions": bundle.distributions,
        "metrics": bundle.metrics,
        "gates": bundle.gates,
        "snapshots": bundle.snapshots,
        "provenance": bundle.provenance,
    }
    return {"id": bundle.id} | {name: part and part.model_dump(mode="json") for name, part in parts.items()}


def tables(bundle: Bundle) -> Iterator[RenderableType]:
    """Identity, tensors, features, metrics, gates and files."""
    manifest = bundle.manifest
    prediction = bundle.serving.prediction
    yield key_values(
        {
            "bundle": f"{manifest.name} {manifest.version}",
            "id": bundle.id,
            "parent": manifest.parent or "none",
            "purpose": manifest.purpose or "not said",
            "risk class": manifest.risk_class,
            "owners": ", ".join(f"{kind}: {who}" for kind, who in manifest.owners.model_dump().items() if who)
            or "none",
            "prediction": f"{prediction.output} ({prediction.kind})" if prediction else "not watched",
            "batchable": "yes" if manifest.batchable else "no",
            "reference": f"{bundle.distributions.rows} rows"
            if bundle.distributions
            else "none: only schema, latency and errors are watched",
        }
    )
    grid = table("\nTensors", "", "name", "type", "shape")
    for kind, specs in (("in", manifest.inputs), ("out", manifest.outputs)):
        for spec in specs:
            shape = ", ".join("any" if dim == -1 else str(dim) for dim in spec.shape)
            grid.add_row(kind, escape(spec.name), spec.dtype, escape(f"[{shape}]"))
    yield grid
    if bundle.schema.features:
        grid = table("\nFeatures", "name", "kind", "type", "source", "valid", "missing")
        for feature in bundle.schema.features:
            grid.add_row(*map(escape, _feature(feature)))
        yield grid
    if bundle.metrics.metrics:
        grid = table("\nMetrics", "name", "value", "95 % interval", "rows", "slice", right=("value", "rows"))
        for metric in bundle.metrics.metrics:
            low, high = (_number(bound) for bound in (metric.low, metric.high))
            interval = f"{low} to {high}" if low or high else ""
            grid.add_row(
                escape(metric.name), _number(metric.value), interval, str(metric.n), _short(metric.slice or "all")
            )
        yield grid
    if bundle.gates.gates:
        grid = table("\nGates", "metric", "bound", "value", "", right=("value",))
        for gate in bundle.gates.gates:
            passed = "[green]passed[/green]" if gate.passed else "[red]failed[/red]"
            grid.add_row(escape(gate.metric), f"{gate.op} {_number(gate.bound)}", _number(gate.value), passed)
        yield grid
    grid = table("\nFiles", "path", "role", "bytes", "sha256", right=("bytes",))
    for entry in manifest.files:
        grid.add_row(entry.path, entry.role, str(entry.size), entry.sha256[:16])
    yield grid


def changes(sections: Sequence[Section]) -> dict[str, list[dict[str, Any]]]:
    """A comparison as plain values, by section."""
    return {
        section.name: [
            {"where": change.where, "first": change.before, "second": change.after} for change in section.changes
        ]
        for section in sections
    }


def comparison(first: Bundle, second: Bundle, sections: Sequence[Section]) -> Iterator[RenderableType]:
    """A comparison as tables, one a section; numbers with their difference."""
    if first.id == second.id:
        yield f"same bundle: {escape(first.name)} {escape(first.version)} {first.id}"
        return
    for bundle, sign in ((first, "-"), (second, "+")):
        yield f"{sign} {escape(bundle.name)} {escape(bundle.version)} {bundle.id}"
    for section in sections:
        grid = table(f"\n{section.name}", "what", "first", "second", "difference", right=("difference",))
        for change in section.changes:
            both = (change.before, change.after)
            numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in both)
            delta = f"{change.after - change.before:+.6g}" if numbers else ""
            grid.add_row(escape(change.where), _short(change.before), _short(change.after), delta)
        yield grid


def _feature(feature: Feature) -> tuple[str, ...]:
    valid = feature.valid
    bounds = "" if valid.min is None and valid.max is None else f"{_number(valid.min)} to {_number(valid.max)}"
    missing = feature.missing.kind if feature.missing.kind != "sentinel" else repr(feature.missing.value)
    categories = f"{len(feature.vocabulary)} categories" if feature.vocabulary else bounds
    return (
        feature.name,
        feature.kind,
        feature.dtype,
        f"{feature.source.tensor}[{feature.source.column}]",
        categories,
        missing,
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _short(value: object) -> str:
    text = "" if value is None else str(value)
    text = text if text.isprintable() else ascii(text)  # a terminal would obey control characters
    return escape(text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}...")
