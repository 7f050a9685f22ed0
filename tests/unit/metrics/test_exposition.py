"""What Prometheus reads: exact buckets, well-formed families, liveness and readiness."""

from __future__ import annotations

import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from prometheus_client.parser import text_string_to_metric_families

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from kedge_testing import flights

from kedge.bundle.store import Store
from kedge.config import Address
from kedge.errors import ConfigError
from kedge.kernel.contract import LATENCY_BUCKETS
from kedge.kernel.latency import latency_bucket
from kedge.kernel.select import select
from kedge.metrics.collector import BOUNDS, histogram
from kedge.metrics.server import MetricsServer
from kedge.monitor.panes import Panes
from kedge.plane import cells
from kedge.plane.contract import Arm
from kedge.rollout.durations import Timings
from kedge.rollout.live import Live
from kedge.rollout.view import View

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def test_buckets_count_exactly_what_is_below_their_bound() -> None:
    random = np.random.default_rng(3)
    nanoseconds = np.exp(random.uniform(np.log(1), np.log(2**38), 5000)).astype(np.int64)
    counts = np.zeros(LATENCY_BUCKETS, np.int64)
    np.add.at(counts, [latency_bucket(int(n)) for n in nanoseconds], 1)
    below, total = histogram(counts)
    for bound, (text, count) in zip(BOUNDS, below, strict=False):
        assert float(text) == bound / 1e9
        assert count == np.count_nonzero(nanoseconds < bound)
    assert below[-1] == ("+Inf", 5000.0)
    inside = np.minimum(nanoseconds, 2**37 - 1)
    assert total == pytest.approx(inside.sum() / 1e9, rel=0.01)


def test_no_latency_is_an_empty_histogram() -> None:
    below, total = histogram(np.zeros(LATENCY_BUCKETS, np.int64))
    assert {count for _, count in below} == {0.0}
    assert total == 0.0


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> View:
    """A view on a bundle that has answered 1,500 rows in one request and refused two."""
    root = tmp_path_factory.mktemp("metrics")
    store = Store(root / "store")
    bundle = store.add(flights.bundle(root))
    kernel = select("reference")
    sketch = kernel.sketch(bundle.layout())
    table = flights.rows(1500, 1)
    heat = table["temp"].to_numpy().copy()
    heat[::5] = np.nan
    table = table.set_column(0, "temp", pa.array(heat))
    sketch.observe(
        [
            np.array(table[t.name].to_pylist(), dtype=object) if t.name == "carrier" else table[t.name].to_numpy()
            for t in bundle.layout().tensors
        ]
    )
    sketch.observe_batch(np.array([5_000], np.int64), 2_000_000, 1500)
    sketch.observe_status(0)
    sketch.observe_status(3, 2)
    sketch.observe_schema("misshaped", "temp")
    sketch.observe_schema("unknown", "colour")
    snapshot = cells.encode({(bundle.id, Arm.LIVE, 1): cells.Cell(sketch.snapshot())})
    live = Live(bundle, None, 1, 5.0)  # type: ignore[arg-type] - no plane has loaded it
    plane: Any = SimpleNamespace(name="portable", snapshot=lambda: snapshot)
    timings = Timings()
    for seconds in (20e-6, 50e-6, 2.0):
        timings.publish.add(seconds)
    rollouts: Any = SimpleNamespace(live=lambda: (live,), get=lambda _model: live, timings=lambda: timings)
    state = SimpleNamespace(ready=True)
    made = View(
        plane=plane, kernel=kernel, store=store, rollouts=rollouts,
        panes=Panes(lambda: 100.0), clock=lambda: 100.0, ready=lambda: state.ready,
    )  # fmt: skip
    made.test_state = state  # type: ignore[attr-defined]
    return made


@pytest.fixture
def broken(view: View) -> View:
    """The view, after the evaluator has looked at it: a fifth of its temperatures are missing."""
    view.evaluate()
    return view


@pytest.fixture
def get(view: View) -> Iterator[Callable[[str], tuple[int, str, str]]]:
    server = MetricsServer(Address("127.0.0.1", 0), view)

    def fetch(path: str) -> tuple[int, str, str]:
        try:
            with urllib.request.urlopen(f"http://{server.address}{path}", timeout=10) as answer:
                return answer.status, answer.headers["Content-Type"], answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers["Content-Type"], error.read().decode()

    yield fetch
    server.stop()


def test_every_family_has_its_labels_and_values(get: Any) -> None:
    status, kind, text = get("/metrics")
    assert status == 200
    assert kind.startswith("text/plain")
    samples = {
        (s.name, tuple(sorted(s.labels.items()))): s.value
        for f in text_string_to_metric_families(text)
        for s in f.samples
    }
    who = (("arm", "live"), ("model", "flights"), ("version", "1.0.0"))
    assert samples["kedge_rows_total", who] == 1500
    assert samples["kedge_requests_total", (("arm", "live"), ("code", "OK"), *who[1:])] == 1
    assert samples["kedge_requests_total", (("arm", "live"), ("code", "INVALID_ARGUMENT"), *who[1:])] == 2
    violations = {
        (dict(labels)["input"], dict(labels)["kind"]): value
        for (name, labels), value in samples.items()
        if name == "kedge_schema_violations_total"
    }
    assert violations == {("temp", "misshaped"): 1, ("", "unknown"): 1}
    assert samples["kedge_run_seconds_count", who] == 1
    assert samples["kedge_run_seconds_sum", who] == pytest.approx(0.002, rel=0.01)
    published = {
        dict(labels)["le"]: value for (name, labels), value in samples.items() if "publish_s" in name and labels
    }
    assert [published[le] for le in ("1e-05", "2.5e-05", "5e-05", "1.0", "+Inf")] == [0, 1, 2, 2, 3]
    assert samples["kedge_publish_seconds_sum", ()] == pytest.approx(2.00007)
    assert samples["kedge_load_seconds_count", ()] == 0
    assert samples["kedge_ready", ()] == 1
    assert samples["kedge_start_time_seconds", ()] == 100
    drift = {labels for name, labels in samples if name == "kedge_feature_drift_psi"}
    assert {dict(labels)["name"] for labels in drift} >= {"temp", "distance", "carrier"}


def test_verdicts_name_what_is_wrong_and_whose_it_is(get: Any, broken: View) -> None:
    _, _, text = get("/metrics")
    samples = {
        (s.name, tuple(sorted(s.labels.items()))): s.value
        for f in text_string_to_metric_families(text)
        for s in f.samples
    }
    severity = {labels: value for (name, labels), value in samples.items() if name == "kedge_verdict_severity"}
    ((labels, value),) = severity.items()
    found = dict(labels)
    assert (found["name"], found["cause"], found["test"], found["arm"]) == ("temp", "pipeline", "missing", "live")
    assert value == 2.0
    standing = {dict(labels)["verdict"]: value for (name, labels), value in samples.items() if name == "kedge_verdicts"}
    assert standing["CRITICAL"] == 1
    assert standing["OK"] >= 2
    assert sum(standing.values()) == 11, "eight distributions and three tests of health"


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian package prometheus) is not installed")
def test_promtool_has_nothing_to_say(get: Any) -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=get("/metrics")[2], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_liveness_and_readiness_are_different_questions(get: Any, view: Any) -> None:
    assert get("/healthz")[0] == get("/readyz")[0] == 200
    view.test_state.ready = False
    try:
        assert get("/healthz")[0] == 200
        assert get("/readyz")[0] == 503
    finally:
        view.test_state.ready = True
    assert get("/")[0] == 404


def test_ipv6_and_unix_sockets_are_listened_on_and_a_taken_address_is_named(view: View, tmp_path: Path) -> None:
    for address in (Address("::1", 0), Address("", 0, str(tmp_path / "m.sock"))):
        server = MetricsServer(address, view)
        bound = Address.parse(server.address)
        with pytest.raises(ConfigError, match="the address is in use"):
            MetricsServer(bound, view)
        server.stop()
    assert not (tmp_path / "m.sock").exists()
