"""Drift, verdicts, charts and estimates as metric families: the worst lines of each model, never all of a wide one."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import numpy as np
from prometheus_client.core import GaugeMetricFamily

from kedge.monitor.confidence import estimate
from kedge.monitor.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

    from kedge.rollout.view import View

DRIFT_SECONDS: Final = 3600.0
"""Window of the drift gauges: the last hour."""
MAX_LINES: Final = 100
"""Lines a model in each family, the worst: a model of 4,096 features must not flood a Prometheus server."""
MAX_MODELS: Final = 64
"""Models, in order of name, that have such families."""
SEVERITY: Final = {Verdict.WARN: 1.0, Verdict.CRITICAL: 2.0}
LINE: Final = ("model", "version", "subject", "name")


def families(view: View) -> Iterator[Metric]:
    """Every family about what the evaluator watches."""
    view.take_pane()
    models = [live.bundle for live in view.live() if live.bundle.distributions is not None][:MAX_MODELS]
    psi = GaugeMetricFamily(
        "kedge_feature_drift_psi",
        "Corrected PSI of the last hour's traffic against the live bundle's reference; the worst 100 lines a model. "
        "Missing where the window is too small to judge.",
        labels=LINE,
    )
    accuracy = GaugeMetricFamily(
        "kedge_estimated_accuracy_ratio",
        "Accuracy of the last hour's predictions, estimated from confidence alone: no labels, and concept drift can "
        "fool it. Missing where confidence is such as calibration hardly saw.",
        labels=("model", "version"),
    )
    since = view.clock() - DRIFT_SECONDS
    for bundle in models:
        found = view.effects(bundle.name, since)
        if found is None:
            continue
        frame, counts, measures = found
        judged = np.flatnonzero(measures.rows >= frame.needed)
        for line in judged[np.argsort(-measures.psi[judged], kind="stable")][:MAX_LINES].tolist():
            side = frame.sides[line]
            psi.add_metric((bundle.name, bundle.version, side.subject, side.name), float(measures.psi[line]))
        guess = estimate(bundle, counts)
        if guess is not None and guess.enough:
            accuracy.add_metric((bundle.name, bundle.version), guess.accuracy)
    yield from (psi, accuracy)
    yield from _verdicts(view)
    yield from _charts(view)


def _verdicts(view: View) -> Iterator[Metric]:
    severity = GaugeMetricFamily(
        "kedge_verdict_severity",
        "1 for a warning, 2 for critical; only lines that are one of them, at most 100 a model, with whose problem it "
        "is: data, pipeline, model or system.",
        labels=("model", "version", "arm", *LINE[2:], "cause", "test"),
    )
    numbers = GaugeMetricFamily(
        "kedge_verdicts", "Watched things by how they stand.", labels=("model", "version", "arm", "verdict")
    )
    shown: Counter[str] = Counter()
    standing: Counter[tuple[str, str, str, str]] = Counter()
    models = {live.bundle.name for live in view.live()[:MAX_MODELS]}
    for item in sorted(view.verdicts(), key=lambda item: -item.verdict.rank):
        if item.model not in models:
            continue
        standing[(item.model, item.version, item.arm, item.verdict.value)] += 1
        if item.verdict.problem and shown[item.model] < MAX_LINES:
            shown[item.model] += 1
            labels = (item.model, item.version, item.arm, item.subject, item.name, item.cause.value, item.test)
            severity.add_metric(labels, SEVERITY[item.verdict])
    for who, count in sorted(standing.items()):
        numbers.add_metric(who, count)
    yield from (severity, numbers)


def _charts(view: View) -> Iterator[Metric]:
    sums = GaugeMetricFamily(
        "kedge_control_chart_sum",
        "Larger sum of each hourly CUSUM chart, in standard deviations; the nearest 100 a model to their limit. "
        "Missing while a chart warms up (a week).",
        labels=LINE,
    )
    limits = GaugeMetricFamily(
        "kedge_control_chart_limit",
        "Sum from which the control charts of a model alarm, in standard deviations.",
        labels=("model", "version"),
    )
    live = {item.bundle.id: item.bundle for item in view.live()[:MAX_MODELS]}
    shown: Counter[str] = Counter()
    told = set()
    charts = view.evaluator.charts()
    for (key, line), (value, limit, _) in sorted(charts.items(), key=lambda item: -item[1][0]):
        bundle = live.get(key.bundle)
        if bundle is None or shown[bundle.id] == MAX_LINES:
            continue
        shown[bundle.id] += 1
        subject, _, name = line.partition(" ")
        sums.add_metric((bundle.name, bundle.version, subject, name), value)
        if bundle.id not in told:
            told.add(bundle.id)
            limits.add_metric((bundle.name, bundle.version), limit)
    yield from (sums, limits)
