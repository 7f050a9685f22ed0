"""Counts as Prometheus metric families, made at the moment of a scrape: nothing is counted twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

import kedge
from kedge.errors import GRPC_STATUSES
from kedge.kernel.contract import SCHEMA_KINDS
from kedge.kernel.latency import latency_lower
from kedge.metrics.verdicts import families

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from prometheus_client import Metric

    from kedge.monitor.panes import Key
    from kedge.rollout.view import View

BOUNDS: Final = tuple(2**power for power in range(13, 37))
"""Upper bounds of latency buckets, in nanoseconds: 8.2 us to 69 s. Powers of two are borders of the kernel's own
buckets, so that cumulative counts are exact."""


class Collector:
    """A collector for a `prometheus_client` registry."""

    def __init__(self, view: View) -> None:
        self._view = view

    def collect(self) -> Iterator[Metric]:
        """Every family, from one snapshot."""
        view = self._view
        build = GaugeMetricFamily(
            "kedge_build_info",
            "Version of Kedge, data plane and counting kernel in use; always 1.",
            labels=("version", "plane", "kernel", "isa"),
        )
        build.add_metric((kedge.__version__, view.plane, view.kernel, view.kernel_isa), 1)
        yield build
        yield GaugeMetricFamily(
            "kedge_ready", "1 while the server takes new requests, else 0.", value=float(view.ready())
        )
        yield GaugeMetricFamily(
            "kedge_start_time_seconds", "When the server started, in seconds since 1970.", value=view.started
        )
        yield self._live()
        yield from self._changes()
        yield from self._traffic()
        yield from families(view)

    def _live(self) -> Metric:
        family = GaugeMetricFamily(
            "kedge_live_bundle_info", "The live bundle of each model; always 1.", labels=("model", "version", "bundle")
        )
        for live in self._view.live():
            family.add_metric((live.bundle.name, live.bundle.version, live.bundle.id), 1)
        return family

    def _changes(self) -> Iterator[Metric]:
        timings = self._view.rollouts.timings()
        for name, what, took in (
            ("publish", "Time from the store of a route table until all traffic follows it.", timings.publish),
            ("load", "Time to load a bundle beside what serves, golden rows and warm-up included.", timings.load),
        ):
            below, total = took.cumulative()
            bounds = [*map(repr, took.bounds), "+Inf"]
            yield HistogramMetricFamily(
                f"kedge_{name}_seconds", what, buckets=list(zip(bounds, below, strict=True)), sum_value=total
            )

    def _traffic(self) -> Iterator[Metric]:
        who = ("model", "version", "arm")
        requests = CounterMetricFamily("kedge_requests", "Requests answered, by gRPC status.", labels=(*who, "code"))
        schema = CounterMetricFamily(
            "kedge_schema_violations",
            "Inputs refused because they are missing, of another type or shape, or (without a name here) unknown.",
            labels=(*who, "input", "kind"),
        )
        rows = CounterMetricFamily("kedge_rows", "Rows of inputs counted.", labels=who)
        queue = HistogramMetricFamily(
            "kedge_queue_seconds", "Time requests waited for a batch to run. The sum is within 1 %.", labels=who
        )
        run = HistogramMetricFamily(
            "kedge_run_seconds", "Time batches ran in the model. The sum is within 1 %.", labels=who
        )
        for key, counts in sorted(self._view.totals().items()):
            labels = self._labels(key)
            for code, count in zip(GRPC_STATUSES, counts.status.tolist(), strict=True):
                if count:
                    requests.add_metric((*labels, code), count)
            for name, violations in zip(counts.layout.schema_inputs, counts.schema.tolist(), strict=True):
                for kind, count in zip(SCHEMA_KINDS, violations, strict=True):
                    if count:
                        schema.add_metric((*labels, name, kind), count)
            if counts.schema_unknown:
                schema.add_metric((*labels, "", "unknown"), counts.schema_unknown)
            rows.add_metric(labels, counts.rows)
            for family, buckets in ((queue, counts.latency_queue), (run, counts.latency_run)):
                below, total = histogram(buckets)
                family.add_metric(labels, below, total)
        yield from (requests, schema, rows, queue, run)

    def _labels(self, key: Key) -> tuple[str, str, str]:
        bundle = self._view.bundle(key.bundle)
        return bundle.name, bundle.version, key.arm


def histogram(counts: NDArray[np.int64]) -> tuple[list[tuple[str, float]], float]:
    """Cumulative buckets (upper bound in seconds as text, count) and the sum in seconds, of kernel latency counts."""
    lower = latency_lower()
    upper = np.append(lower[1:], lower[-1])
    total = float((counts * (lower + upper) / 2).sum()) / 1e9
    running = np.concatenate(([0], np.cumsum(counts)))
    below = [(repr(bound / 1e9), float(running[np.searchsorted(lower, bound)])) for bound in BOUNDS]
    return [*below, ("+Inf", float(running[-1]))], total
