"""A model card from what a bundle says: what it is for, what it was measured to do and on what, and what nobody knows.

Everything in it is computed from the bundle's JSON files, so that equal bundles have equal cards.

Source: the sections are those of Mitchell and others, "Model Cards for Model Reporting", 2019.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kedge.bundle.contents import Bundle
    from kedge.bundle.manifest import (
        DataSnapshot,
        Distributions,
        Feature,
        Gate,
        Manifest,
        Metric,
        Metrics,
        Schema,
        Serving,
        Slicing,
    )
    from kedge.bundle.provenance import Provenance

MOST_ROWS: Final = 60
"""Of one table: a card is read by people."""
FEW_ROWS: Final = 1000
"""Evaluation rows below which a metric's interval is wide whatever its value."""
_MARKUP: Final = re.compile(r"([\\`*_{}\[\]<>#|])")


@dataclass(frozen=True)
class Described:
    """The parts of a bundle that a card is made of."""

    manifest: Manifest
    schema: Schema
    distributions: Distributions | None
    serving: Serving
    metrics: Metrics
    gates: tuple[Gate, ...]
    snapshots: tuple[DataSnapshot, ...]
    provenance: Provenance

    @classmethod
    def of(cls, bundle: Bundle) -> Described:
        """Those of an opened bundle."""
        return cls(
            manifest=bundle.manifest,
            schema=bundle.schema,
            distributions=bundle.distributions,
            serving=bundle.serving,
            metrics=bundle.metrics,
            gates=bundle.gates.gates,
            snapshots=bundle.snapshots.snapshots,
            provenance=bundle.provenance,
        )


def render(said: Described) -> str:
    """The card, in Markdown."""
    parts = (_model, _use, _data, _evaluation, _calibration, _monitoring, _limitations, _lineage)
    blocks = [block for part in parts for block in part(said)]
    return "\n\n".join(blocks) + "\n"


def _model(said: Described) -> Iterator[str]:
    manifest, prediction = said.manifest, said.serving.prediction
    yield f"# {_text(manifest.name)} {_text(manifest.version)}"
    yield (
        "Generated from the bundle. Figures were measured at build, on the model that runs; purpose, risk class, "
        "owners and limits are what the spec says."
    )
    owners = [f"{kind}: {_text(who)}" for kind, who in manifest.owners.model_dump().items() if who]
    answers = "not watched"
    if prediction is not None:
        of = f" of {', '.join(map(_text, prediction.classes[:20]))}" if prediction.classes else ""
        answers = f"output {_text(prediction.output)}, {prediction.kind}{of}"
    yield "## Model details"
    yield _table(
        ("", ""),
        [
            ("task", said.metrics.task),
            ("risk class", manifest.risk_class),
            ("owners", "; ".join(owners) or "none named"),
            ("made from", f"bundle {manifest.parent}" if manifest.parent else "no earlier bundle"),
            ("prediction", answers),
            ("batching", "rows share a run" if manifest.batchable else "one request a run"),
        ],
    )
    tensors = [("in", spec) for spec in manifest.inputs] + [("out", spec) for spec in manifest.outputs]
    shapes = [
        (way, _text(spec.name), spec.dtype, " x ".join("any" if d == -1 else str(d) for d in spec.shape))
        for way, spec in tensors
    ]
    yield _table(("", "tensor", "type", "shape"), shapes)


def _use(said: Described) -> Iterator[str]:
    yield "## Intended use"
    yield _text(said.manifest.purpose) or "Nobody said. A model without a stated purpose should not serve one."
    if said.schema.features:
        yield "### Factors: what it reads"
        yield _table(("feature", "kind", "valid", "missing"), map(_feature, said.schema.features))
    if said.schema.slices:
        yield f"Reported apart by: {', '.join(map(_slicing, said.schema.slices))}."


def _slicing(said: str | Slicing) -> str:
    if isinstance(said, str):
        return _text(said)
    return f"{_text(said.feature)} (cut at {', '.join(map(_number, said.edges))})"


def _feature(feature: Feature) -> tuple[str, ...]:
    valid = feature.valid
    bounds = "any" if valid.min is None and valid.max is None else f"{_number(valid.min)} to {_number(valid.max)}"
    if feature.vocabulary:
        bounds = f"{len(feature.vocabulary)} categories"
    missing = feature.missing.kind if feature.missing.kind != "sentinel" else _text(repr(feature.missing.value))
    return _text(feature.name), feature.kind, bounds, missing


def _data(said: Described) -> Iterator[str]:
    yield "## Data"
    if not said.snapshots:
        yield "None was given at build: nothing is known of how the model does, nor of what its inputs look like."
        return
    yield _table(
        ("used as", "where", "rows", "from", "to", "part of", "SHA-256"),
        [
            (
                one.role,
                _text(one.uri),
                f"{one.rows:,}",
                _text(one.time_min or ""),
                _text(one.time_max or ""),
                _text(one.held_out_of or ""),
                one.sha256[:16],
            )
            for one in said.snapshots
        ],
    )
    if said.schema.label:
        yield f"Label: {_text(said.schema.label)}."


def _evaluation(said: Described) -> Iterator[str]:
    yield "## Evaluation"
    if not said.metrics.metrics:
        yield "Not evaluated."
    else:
        overall = [one for one in said.metrics.metrics if one.slice is None]
        slices = [one for one in said.metrics.metrics if one.slice is not None]
        yield _table(("metric", "value", "95 % interval", "rows"), [_metric(one) for one in overall])
        if slices:
            yield "### By slice"
            rows = [(_text(one.slice or ""), *_metric(one)) for one in slices]
            yield _table(("slice", "metric", "value", "95 % interval", "rows"), rows)
    if said.gates:
        yield "### Gates"
        rows = [
            (_text(one.metric), f"{_text(one.op)} {_number(one.bound)}", _number(one.value), _passed(one))
            for one in said.gates
        ]
        yield _table(("metric", "bound", "measured", ""), rows)


def _passed(gate: Gate) -> str:
    return "passed" if gate.passed else "FAILED"


def _metric(metric: Metric) -> tuple[str, ...]:
    known = metric.low is not None and metric.high is not None
    interval = f"{_number(metric.low)} to {_number(metric.high)}" if known else "unknown"
    return _text(metric.name), _number(metric.value), interval, f"{metric.n:,}"


def _calibration(said: Described) -> Iterator[str]:
    reliability = said.distributions.reliability if said.distributions else None
    conformal = said.distributions.conformal if said.distributions else None
    if reliability is None and conformal is None:
        return
    yield "## Calibration"
    if reliability is not None:
        yield "What the top probability was worth on the calibration data, in bins of about equal size:"
        bounds = (0.0, *reliability.edges, 1.0)
        rows = [
            (
                f"{_number(low)} to {_number(high)}",
                f"{n:,}",
                _number(p / n if n else None),
                _number(y / n if n else None),
            )
            for (low, high), n, p, y in zip(
                itertools.pairwise(bounds), reliability.n, reliability.sum_p, reliability.sum_y, strict=True
            )
        ]
        yield _table(("top probability", "rows", "mean probability", "share correct"), rows)
    if conformal is not None:
        yield f"Conformal scores ({conformal.score}) of {conformal.n:,} calibration rows are kept."


def _monitoring(said: Described) -> Iterator[str]:
    config = said.serving.monitor
    yield "## Monitoring"
    drift = (
        f"PSI* from {_number(config.psi_warn)} warns, from {_number(config.psi_critical)} is critical, never below "
        "what the reference shows of itself"
        if said.distributions
        else "not possible: no reference"
    )
    matures = f"complete after {said.schema.maturity_seconds / 3600:g} h"
    yield _table(
        ("", ""),
        [
            ("drift", drift),
            ("false alarms allowed", f"{_number(config.alarm_budget_per_day)} a day"),
            ("outcomes", f"collected; labels are {matures}" if said.serving.outcomes else "not collected"),
        ],
    )
    if said.distributions is None:
        return
    restless = sorted(
        ((one.natural_variation, one.name) for one in said.distributions.features if one.natural_variation > 0),
        reverse=True,
    )
    if restless:
        yield "### What varies by itself"
        rows = [(_text(name), _number(value)) for value, name in restless[:10]]
        yield _table(("feature", "PSI* between the reference's own blocks in time"), rows)


def _limitations(said: Described) -> Iterator[str]:
    yield "## Limitations"
    yield "\n".join(f"- {text}" for text in _known_limits(said))


def _known_limits(said: Described) -> Iterator[str]:
    distributions, metrics = said.distributions, said.metrics.metrics
    if not said.manifest.purpose:
        yield "Its purpose is not stated, so no use of it can be called intended."
    if said.manifest.risk_class == "unclassified":
        yield "Its risk has not been classified."
    if not any(said.manifest.owners.model_dump().values()):
        yield "Nobody is named to answer for it."
    if distributions is None:
        yield "Without a reference only schema, latency and errors are watched: drift goes unseen."
    elif all(one.natural_variation == 0 for one in distributions.features):
        yield "The reference has no time: how much its inputs vary by themselves is unknown."
    if not metrics:
        yield "It was not evaluated at build."
    elif (fewest := min(one.n for one in metrics if one.slice is None)) < FEW_ROWS:
        yield f"It was evaluated on {fewest:,} rows only: its intervals are wide."
    if metrics and not any(one.slice for one in metrics):
        yield "It was not evaluated by slice: what it does for any group of rows apart is unknown."
    for gate in said.gates:
        if not gate.passed:
            asked = f"{_text(gate.op)} {_number(gate.bound)}"
            yield f"It failed a gate: {_text(gate.metric)} is {_number(gate.value)}, {asked} was asked."
    if any(one.held_out_of for one in said.snapshots):
        yield "It was evaluated on rows held out of the reference, not on data collected apart."
    if said.schema.selective:
        yield "Labels come back for some predictions only, depending on the prediction: accuracy is that of those."
    if distributions is not None and distributions.reliability is None and distributions.conformal is None:
        yield "Its confidence was not calibrated: no intervals, no sets, no estimate of accuracy without labels."
    yield "Metrics hold for data like the evaluation data. They say nothing of fairness, safety or any other use."


def _lineage(said: Described) -> Iterator[str]:
    source = said.provenance
    yield "## Lineage"
    rows = [
        ("code commit", _text(source.code_commit) or "not said"),
        ("training run", _text(source.training_run) or "not said"),
        ("environment", f"SHA-256 {source.environment_sha256}" if source.environment_sha256 else "not said"),
        ("measured with", ", ".join(f"{_text(name)} {_text(at)}" for name, at in sorted(source.packages.items()))),
    ]
    yield _table(("", ""), rows)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    body = [*rows]
    lines = [columns, ["---"] * len(columns), *body[:MOST_ROWS]]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return text if len(body) <= MOST_ROWS else f"{text}\n\n... and {len(body) - MOST_ROWS} more."


def _text(value: str) -> str:
    """Text from a bundle as text and not as markup."""
    return _MARKUP.sub(r"\\\1", " ".join(value.split()))


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.6g}"
