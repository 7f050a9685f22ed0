"""What bounds one node, what a second shard gives, what a million predictions cost, and adding up 1,000 replicas."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import model
from benchmarks.limits.memory import memory
from benchmarks.limits.replicas import replicas
from benchmarks.limits.shards import shards
from benchmarks.load.process import ROOT
from kedge.bundle.store import Store

if TYPE_CHECKING:
    from benchmarks.report import Table


def run(*, quick: bool) -> tuple[Table, ...]:
    """Everything but overload."""
    with tempfile.TemporaryDirectory(prefix="kedge-bench-") as name:
        folder = Path(name)
        files = model.make(ROOT / "build/bench/model")
        bundle = Store(folder / "store").add(files.watched)
        return (
            *memory(folder, files, bundle, quick=quick),
            *shards(folder, files, quick=quick),
            replicas(bundle.id, bundle.layout(), 100 if quick else 1000),
        )
