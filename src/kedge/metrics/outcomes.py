"""Outcomes as metric families: labels by what became of them, and what those of closed cohorts amount to."""

from __future__ import annotations

import itertools
import logging
from typing import TYPE_CHECKING, Final, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from kedge.errors import KedgeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from prometheus_client import Metric

    from kedge.alerts.service import SinkStatus
    from kedge.monitor.outcomes.report import OutcomesReport

MAX_BUNDLES: Final = 64
"""Bundles, in order of model and version, that have such families."""
MAX_SLICES: Final = 1000
"""Slices of all bundles and arms together that have series, in order of model, version and arm."""
log = logging.getLogger(__name__)
WHO: Final = ("model", "version", "arm")
_CLOSED: Final = "of predictions that have reached maturity. Missing where it cannot be told."
FIGURES: Final = {
    "accuracy": ("kedge_outcome_accuracy_ratio", f"Share of right classes {_CLOSED}"),
    "brier": ("kedge_outcome_brier_score", f"Mean Brier score {_CLOSED}"),
    "log_loss": ("kedge_outcome_log_loss_nats", f"Mean log-loss {_CLOSED}"),
    "ece_corrected": (
        "kedge_outcome_calibration_error_ratio",
        f"Expected calibration error of the top probability, above what chance gives, {_CLOSED}",
    ),
    "mae": ("kedge_outcome_mean_absolute_error", f"Mean |predicted - label|, in the label's own unit, {_CLOSED}"),
    "rmse": ("kedge_outcome_root_mean_square_error", f"Root mean square error, in the label's own unit, {_CLOSED}"),
    "coverage": (
        "kedge_outcome_coverage_ratio",
        f"Share of conformal sets or intervals that held the label, {_CLOSED}",
    ),
    "share": ("kedge_outcome_labelled_ratio", f"Share that has a label, {_CLOSED}"),
}


SLICE_FIGURES: Final = {
    "accuracy": ("kedge_outcome_slice_accuracy_ratio", f"Share of right classes in a slice {_CLOSED}"),
    "brier": ("kedge_outcome_slice_brier_score", f"Mean Brier score in a slice {_CLOSED}"),
    "mae": ("kedge_outcome_slice_mean_absolute_error", f"Mean |predicted - label| in a slice, in its unit, {_CLOSED}"),
}


class Labels(Protocol):
    """What there is to expose. Every method is thread-safe."""

    def reports(self) -> Sequence[OutcomesReport]:
        """What labels say of every bundle that answers and collects them."""

    def statuses(self) -> Mapping[tuple[str, str], int]:
        """Labels that ever came, by bundle id (empty where it is not known) and status."""

    def sinks(self) -> Sequence[SinkStatus]:
        """How every sink of alerts stands."""


class OutcomesCollector:
    """A collector for a `prometheus_client` registry."""

    def __init__(self, labels: Labels) -> None:
        self._labels = labels

    def collect(self) -> Iterator[Metric]:
        """Every family; none where they cannot be read, so that the other metrics still can."""
        try:
            yield from tuple(self._collect())
        except KedgeError as error:
            log.warning("no metrics of outcomes: %s", error)

    def _collect(self) -> Iterator[Metric]:
        reports = sorted(self._labels.reports(), key=lambda report: (report.target.model, report.target.version))
        shown = {report.target.bundle: report.target for report in reports[:MAX_BUNDLES]}
        came = CounterMetricFamily(
            "kedge_outcomes",
            "Labels that came, by what became of them. Forged ones, and those of bundles that do not answer now, have "
            "no model.",
            labels=("model", "version", "status"),
        )
        others: dict[str, int] = {}
        for (bundle, status), count in sorted(self._labels.statuses().items()):
            if bundle in shown:
                came.add_metric((shown[bundle].model, shown[bundle].version, status), count)
            else:
                others[status] = others.get(status, 0) + count
        for status, count in others.items():
            came.add_metric(("", "", status), count)
        yield came
        chosen = [report for report in reports if report.target.bundle in shown]
        yield from self._figures(chosen)
        yield from self._slices(chosen)
        yield from self._sinks()

    def _figures(self, reports: Sequence[OutcomesReport]) -> Iterator[Metric]:
        labelled = GaugeMetricFamily(
            "kedge_outcome_labelled_predictions",
            "Predictions with a label on time, by whether they have reached maturity.",
            labels=(*WHO, "mature"),
        )
        families = {name: GaugeMetricFamily(*words, labels=WHO) for name, words in FIGURES.items()}
        alpha = GaugeMetricFamily(
            "kedge_conformal_miss_rate_ratio",
            "Miss rate in force of sets and intervals; outcomes move it where the bundle says so.",
            labels=WHO[:2],
        )
        for report in reports:
            target = report.target
            alpha.add_metric((target.model, target.version), report.alpha)
            for arm in report.arms:
                who = (target.model, target.version, arm.arm)
                labelled.add_metric((*who, "true"), arm.closed_figures.labelled)
                labelled.add_metric((*who, "false"), arm.open_figures.labelled)
                for name, family in families.items():
                    value = getattr(arm.closed_figures, name)
                    if value is not None:
                        family.add_metric(who, value)
        yield from (labelled, *families.values(), alpha)

    def _slices(self, reports: Sequence[OutcomesReport]) -> Iterator[Metric]:
        names = (*WHO, "feature", "value")
        labelled = GaugeMetricFamily(
            "kedge_outcome_slice_labelled_predictions",
            "Predictions in a slice with a label on time, of those that have reached maturity.",
            labels=names,
        )
        families = {name: GaugeMetricFamily(*words, labels=names) for name, words in SLICE_FIGURES.items()}
        lines = (
            ((report.target.model, report.target.version, arm.arm, line.feature, line.value), line.closed_figures)
            for report in reports
            for arm in report.arms
            for line in arm.slices
        )
        for who, figures in itertools.islice(lines, MAX_SLICES):
            labelled.add_metric(who, figures.labelled)
            for name, family in families.items():
                value = getattr(figures, name)
                if value is not None:
                    family.add_metric(who, value)
        yield from (labelled, *families.values())

    def _sinks(self) -> Iterator[Metric]:
        waiting = GaugeMetricFamily("kedge_alert_messages_waiting", "Messages not yet delivered.", labels=("sink",))
        oldest = GaugeMetricFamily(
            "kedge_alert_oldest_message_seconds", "Age of the oldest of them; 0 where none waits.", labels=("sink",)
        )
        attempts = CounterMetricFamily(
            "kedge_alert_messages",
            "Messages by what became of an attempt to deliver them: delivered, refused, retried, or dropped because "
            "too many waited.",
            labels=("sink", "result"),
        )
        for sink in self._labels.sinks():
            waiting.add_metric((sink.name,), sink.waiting)
            oldest.add_metric((sink.name,), sink.oldest)
            for result in ("delivered", "refused", "retried", "dropped"):
                attempts.add_metric((sink.name, result), getattr(sink, result))
        yield from (waiting, oldest, attempts)
