"""Whether the server counted what it was sent: the same requests, the same rows, each in the same places."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from kedge.audit import files
from kedge.audit.counts import COUNTS, CountStore
from kedge.audit.reader import Reader
from kedge.client import AdminClient, Client
from kedge.kernel.select import select
from kedge.kernel.snapshot import Counts
from kedge.proto import inference as pb
from kedge_testing.soak import zoo
from kedge_testing.soak.probes import ANSWER_SECONDS, get

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kedge_testing.soak.labels import Reporter
    from kedge_testing.soak.life import Life
    from kedge_testing.soak.world import World

SETTLE_SECONDS: Final = 60.0
"""An answer is counted after it has left; within this it must have been."""
REMEMBERED_SECONDS: Final = 240.0
"""A drift report covers a life no longer than this whole: panes are a ring."""
SERIES: Final = re.compile(
    r'kedge_(requests|rows)_total\{arm="(\w+)",(?:code="(\w+)",)?model="(\w+)",version="([^"]+)"\} (\S+)'
)


def settled(world: World, life: Life, reporter: Reporter, age: float) -> None:
    """With nothing under way: all that the server says it counted is what clients have in hand.

    Args:
        age: of this life, in seconds.
    """
    with (
        AdminClient(life.admin, timeout=ANSWER_SECONDS) as admin,
        Client(life.grpc, timeout=ANSWER_SECONDS, credentials=life.credentials) as client,
    ):
        _equal(world, "metrics", lambda: _expected(world, life), lambda: _metrics(world, life))
        _equal(world, "statistics", dict, lambda: _statistics(world, life, client))
        if age < REMEMBERED_SECONDS:
            live = {model.model: model.bundle for model in admin.status().models if model.model in zoo.COMPARED}
            _equal(
                world, "drift", lambda: _by_live(life, live), lambda: {name: admin.drift(name).rows for name in live}
            )
        if not reporter.doubtful:
            _equal(world, "outcomes", lambda: dict(reporter.taken), lambda: _outcomes(admin))
    world.add("comparisons of counts")


def _equal(world: World, what: str, expected: Callable[[], Any], found: Callable[[], Any]) -> None:
    end = time.monotonic() + SETTLE_SECONDS
    while (want := expected()) != (have := found()):
        if time.monotonic() > end:
            apart = {
                key: (want.get(key), have.get(key))
                for key in want.keys() | have.keys()
                if want.get(key) != have.get(key)
            }
            world.wrong(f"counts of {what}", "sent == counted", f"(sent, counted) {apart}")
            return
        time.sleep(0.05)


def _expected(world: World, life: Life) -> dict[Any, int]:
    found: dict[Any, int] = {}
    for (identity, arm), (requests, rows) in life.tally.counted().items():
        model, version = world.zoo.of(identity)
        found[model.name, version, arm, "OK"] = requests
        found[model.name, version, arm, "rows"] = rows
    return found | {(name, "INVALID_ARGUMENT"): count for name, count in life.tally.refused.items()}


def _metrics(world: World, life: Life) -> dict[Any, int]:
    """The same from the metrics port. Of refusals clients do not know the arm."""
    found: Counter[Any] = Counter()
    for kind, arm, code, model, version, count in SERIES.findall(get(life, "/metrics")[1]):
        if model == zoo.DECOY:
            found["decoys"] += int(float(count)) if code == "OK" else 0
        elif arm != "shadow" and float(count):
            if kind == "rows":
                found[model, version, arm, "rows"] += int(float(count))
            elif code == "OK":
                found[model, version, arm, "OK"] += int(float(count))
            else:
                found[model, code] += int(float(count))
    if found["decoys"] > world.counts["decoys sent"]:
        world.wrong("counts of decoys", f"at most {world.counts['decoys sent']}", found["decoys"])
    del found["decoys"]
    return dict(found)


def _statistics(world: World, life: Life, client: Client) -> dict[str, str]:
    """What the statistics of versions that are loaded say otherwise than clients."""
    sent: dict[tuple[str, str], list[int]] = {}
    for (identity, _), counted in life.tally.counted().items():
        model, version = world.zoo.of(identity)
        of = sent.setdefault((model.name, version), [0, 0])
        of[:] = of[0] + counted[0], of[1] + counted[1]
    answer = client._call("ModelStatistics", pb.ModelStatisticsRequest(), pb.ModelStatisticsResponse)
    found = {
        (one.name, one.version): [one.inference_stats.success.count, one.inference_count] for one in answer.model_stats
    }
    return {
        " ".join(key): f"{counted}, sent {sent.get(key, [0, 0])}"
        for key, counted in found.items()
        if key[0] != zoo.DECOY and counted != sent.get(key, [0, 0])
    }


def _by_live(life: Life, live: dict[str, str]) -> dict[str, int]:
    counted = life.tally.counted()
    return {
        name: sum(rows for (identity, _), (_, rows) in counted.items() if identity == bundle)
        for name, bundle in live.items()
    }


def _outcomes(admin: AdminClient) -> dict[str, int]:
    found: Counter[str] = Counter()
    for bundle in admin.outcomes().bundles:
        found[bundle.model] += bundle.statuses.get("accepted", 0) + bundle.statuses.get("late", 0)
    return {model: count for model, count in found.items() if count}


def recorded(world: World, life: Life, state: Path) -> None:
    """After a drain: the counts that the audit log has of this life hold every row in the slot where it belongs."""
    store, total = CountStore(state / COUNTS), {}
    with Reader(state / files.DATABASE) as log:
        for _, data in log.records(life.first):
            record = json.loads(data)
            if record["action"] != "traffic.digest":
                continue
            for one in record["details"]["counted"]:
                layout = world.zoo.of(one["bundle"])[0].versions[one["version"]].bundle.layout()
                counts = Counts.parse(store.get(one["counts"]), layout)
                key = one["bundle"], one["arm"]
                total[key] = total[key] + counts if key in total else counts
    for key in life.tally.rows.keys() | total.keys():
        model, version = world.zoo.of(key[0])
        if model.name == zoo.DECOY or key[1] == "shadow":
            continue
        bundle = model.versions[version].bundle
        where = f"{model.name} {version} as {key[1]}, on record"
        got = total.get(key)
        want = _sketched(bundle, model, life.tally.rows[key])
        if got is None or got.rows != want.rows:
            world.wrong(f"counts of {where}", f"{want.rows} rows", None if got is None else got.rows)
            continue
        answered = life.tally.requests[key]
        if got.status[0] != answered:
            world.wrong(f"answers of {where}", answered, int(got.status[0]))
        for feature, mine, theirs in zip(bundle.layout().features, want.features, got.features, strict=True):
            if not np.array_equal(mine.slots, theirs.slots) or mine.sum_q != theirs.sum_q:
                world.wrong(f"feature {feature.name} of {where}", mine.slots.tolist(), theirs.slots.tolist())
        world.add("histograms compared", len(want.features))


def _sketched(bundle: Any, model: zoo.Model, rows: Any) -> Counts:
    """What the reference kernel counts of these rows."""
    layout = bundle.layout()
    sketch = select("reference").sketch(layout)
    sketch.observe([np.repeat(model.inputs[tensor.name], rows, axis=0) for tensor in layout.tensors])
    return Counts.parse(sketch.snapshot(), layout)
