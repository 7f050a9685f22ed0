"""What Prometheus reads of outcomes: figures of closed cohorts, labels by status; nothing where nothing can be told."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from kedge_testing.outcomes import BUNDLE, World, conformal, predictions, slices
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from kedge.alerts.service import SinkStatus
from kedge.metrics.outcomes import OutcomesCollector
from kedge.monitor.outcomes.file import OutcomesError
from kedge.monitor.outcomes.report import gather

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from kedge.monitor.outcomes.report import OutcomesReport

WHO = {"model": "flights", "version": "1.0.0", "arm": "live"}


class Labels:
    """100 labels of 400 predictions, 80 right; three forged ones; a sink that waits."""

    def __init__(self, path: Path) -> None:
        self.world = World(path)
        self.target = self.world.aim(distributions=conformal(np.linspace(0.01, 0.9, 100)))
        self.world.book.tend([self.target], {(BUNDLE, "live"): 400})
        self.world.take(predictions(100), ["yes"] * 80 + ["no"] * 20)
        self.world.take(predictions(3, seal=1), ["yes"] * 3)
        self.failure: Exception | None = None

    def reports(self) -> tuple[OutcomesReport, ...]:
        if self.failure is not None:
            raise self.failure
        return (gather(self.world.database, self.target, self.world.now),)

    def statuses(self) -> Mapping[tuple[str, str], int]:
        return self.world.database.statuses()

    def sinks(self) -> tuple[SinkStatus, ...]:
        return (SinkStatus("hook", waiting=2, oldest=5.0, delivered=7, refused=0, retried=3, dropped=1),)

    def text(self) -> str:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(OutcomesCollector(self))
        return generate_latest(registry).decode()

    def samples(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        families = text_string_to_metric_families(self.text())
        return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


@pytest.fixture
def labels(tmp_path: Path) -> Iterator[Labels]:
    made = Labels(tmp_path / "outcomes.db")
    yield made
    made.world.database.close()


def key(name: str, **names: str) -> tuple[str, Any]:
    return name, frozenset(names.items())


def test_labels_come_by_status_and_alerts_by_sink(labels: Labels) -> None:
    found = labels.samples()
    assert found[key("kedge_outcomes_total", model="flights", version="1.0.0", status="accepted")] == 100
    assert found[key("kedge_outcomes_total", model="", version="", status="forged")] == 3
    assert found[key("kedge_alert_messages_waiting", sink="hook")] == 2
    assert found[key("kedge_alert_messages_total", sink="hook", result="retried")] == 3


def test_figures_are_those_of_closed_cohorts(labels: Labels) -> None:
    before = labels.samples()
    assert before[key("kedge_outcome_labelled_predictions", **WHO, mature="false")] == 100
    assert not any(name == "kedge_outcome_accuracy_ratio" for name, _ in before)
    labels.world.now += 86400 + 3600
    found = labels.samples()
    assert found[key("kedge_outcome_labelled_predictions", **WHO, mature="true")] == 100
    assert found[key("kedge_outcome_accuracy_ratio", **WHO)] == 0.8
    assert found[key("kedge_outcome_labelled_ratio", **WHO)] == 0.25
    assert found[key("kedge_outcome_coverage_ratio", **WHO)] == 1.0
    assert found[key("kedge_conformal_miss_rate_ratio", model="flights", version="1.0.0")] == 0.1
    assert not any(name == "kedge_outcome_mean_absolute_error" for name, _ in found)


def test_slices_have_series_up_to_a_limit(labels: Labels, monkeypatch: pytest.MonkeyPatch) -> None:
    labels.target = labels.world.aim(slices=slices())
    labels.world.take(predictions(24, sequence=np.arange(200, 224), slice=1 + np.arange(24) % 12), ["yes", "no"] * 12)
    labels.world.now += 86400 + 3600
    found = labels.samples()
    assert found[key("kedge_outcome_slice_labelled_predictions", **WHO, feature="carrier", value="UA")] == 6
    assert found[key("kedge_outcome_slice_accuracy_ratio", **WHO, feature="carrier", value="UA")] == 1.0
    assert found[key("kedge_outcome_slice_accuracy_ratio", **WHO, feature="delay", value="(missing)")] == 0.5
    assert sum(name == "kedge_outcome_slice_labelled_predictions" for name, _ in found) == 7
    monkeypatch.setattr("kedge.metrics.outcomes.MAX_SLICES", 3)
    assert sum(name == "kedge_outcome_slice_accuracy_ratio" for name, _ in labels.samples()) == 3


def test_what_cannot_be_read_leaves_the_other_metrics_alone(labels: Labels) -> None:
    labels.failure = OutcomesError("the disk is gone")
    assert labels.text() == ""


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian package prometheus) is not installed")
def test_promtool_has_nothing_to_say(labels: Labels) -> None:
    labels.target = labels.world.aim(slices=slices())
    labels.world.take(predictions(5, sequence=np.arange(200, 205), slice=3), ["yes"] * 5)
    labels.world.now += 86400 + 3600
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=labels.text(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
