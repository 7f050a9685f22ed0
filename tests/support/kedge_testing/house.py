"""A house for the rollout manager: a real store, a real plane, a clock that is set, notices that are kept."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pyarrow.parquet as pq
from onnx import helper as h
from onnx import numpy_helper

from kedge.audit import files
from kedge.audit.reader import Reader
from kedge.audit.record import Actor, Record
from kedge.audit.second import SecondFile
from kedge.audit.verify import verify
from kedge.build import build
from kedge.bundle.store import Store
from kedge.kernel.select import select
from kedge.plane.portable.plane import PortablePlane
from kedge.rollout.ledger import open_ledger
from kedge.rollout.manager import Rollouts
from kedge_testing import flights

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kedge.audit.findings import Report
    from kedge.plane.contract import Arm, DataPlane
    from kedge.rollout.notice import Notice
    from kedge.rollout.values import ModelState

ANN = Actor(name="ann", authenticated_by="test")
BOB = Actor(name="bob", authenticated_by="test")
POISON = 50.0
"""A distance on which a `brittle` model's answer is not finite; the others' is."""
QUICK: dict[str, Any] = {
    "steps": [{"share": 0.5, "units": 0, "min_seconds": 10, "proof": False}],
    "baking": {"keep": 0.05, "seconds": 10, "units": 0},
}
"""A plan that asks for nothing but time."""


def brittle(root: Path, version: str) -> Path:
    """Build a bundle that takes the logarithm of distance less 100, and so fails below it; returns the archive. No
    distance is below 0, says its schema.
    """
    root.mkdir(parents=True, exist_ok=True)
    model = flights.model()
    graph = model.graph
    (total,) = [node for node in graph.node if node.op_type == "Sum"]
    total.input.append("nothing")
    nodes = [
        h.make_node("Sub", ["distance", "hundred"], ["beyond"]),
        h.make_node("Log", ["beyond"], ["logarithm"]),
        h.make_node("Mul", ["logarithm", "zero"], ["nothing"]),
    ]
    for place, node in enumerate(nodes):
        graph.node.insert(place, node)
    for name, value in (("hundred", 100.0), ("zero", 0.0)):
        graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))
    onnx.checker.check_model(model)
    stem = f"flights-{version}"
    onnx.save(model, root / f"{stem}.onnx")
    pq.write_table(flights.rows(2000, 7), root / f"{stem}.parquet")
    (root / f"{stem}.yaml").write_text(
        f"name: flights\nversion: {version}\nmodel: {stem}.onnx\ndata:\n  reference: {stem}.parquet\n  label: late\n"
        "features: {distance: {valid: {min: 0}}}\n"
    )
    build(root / f"{stem}.yaml", root / f"{stem}.kedge")
    return root / f"{stem}.kedge"


def portable() -> DataPlane:
    """Quick to start."""
    return PortablePlane(select("reference"))


def native() -> DataPlane:
    """The other one; its models are not loaded in a child first, which takes a second each."""
    from kedge.plane.native import NativePlane

    return NativePlane(select("native"), isolate=False)


@dataclass
class House:
    """A state directory and the manager on it. `plane` and `rollouts` are replaced by a restart."""

    directory: Path
    archives: dict[str, Path]  # opened bundles by version, in directories named by their ids
    now: float = 1_000_000.0
    skew: float = 0.0  # what the wall clock was set by, seconds
    notices: list[Notice] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    retain: int = 3
    bundles: dict[str, str] = field(default_factory=dict)
    make_plane: Callable[[], DataPlane] = portable
    refused: tuple[str, ...] = ()

    def open(self) -> Rollouts:
        """Start, as a server does."""
        self.store = Store(self.directory / "store")
        self.plane = self.make_plane()
        try:
            self.rollouts = Rollouts(
                ledger=open_ledger(self.directory),
                store=self.store,
                plane=self.plane,
                clock=lambda: self.now + self.skew,
                monotonic=lambda: self.now,
                tell=self.notices.append,
                forgotten=self.forgotten.append,
                retain=self.retain,
            )
            self.refused = self.rollouts.restore()
        except BaseException:
            self.plane.stop()
            raise
        return self.rollouts

    def add(self, version: str) -> str:
        """Put a bundle into the store; returns its id."""
        source = self.archives[version]
        target = self.store.root / "sha256" / source.name
        if not target.exists():
            shutil.copytree(source, target, copy_function=os.link)
        self.bundles[version] = source.name
        return source.name

    def deploy(self, version: str, **keywords: Any) -> ModelState:
        """Deploy it, as ann."""
        return self.rollouts.deploy(self.add(version), by=ANN, **keywords)

    def live(self, version: str, *others: str) -> None:
        """Swap these in, one after the other."""
        for one in (version, *others):
            self.deploy(one, strategy="swap")

    def status(self) -> ModelState:
        """Of flights."""
        (state,) = self.rollouts.status("flights")
        return state

    def arms(self) -> list[tuple[str, Arm]]:
        """Who answers for flights: version and arm, in the order of the route table."""
        (route,) = self.rollouts.table().routes
        return [(arm.handle.version, arm.arm) for arm in route.arms]

    def close(self) -> None:
        """End as a server that was asked to."""
        self.rollouts.close()
        self.plane.stop()

    def crash(self) -> None:
        """End as a server that was killed: nothing is written any more."""
        self.rollouts._desk.ledger.close()
        self.plane.stop()

    def records(self) -> list[Record]:
        """Of the audit log."""
        with Reader(self.directory / files.DATABASE) as log:
            return [Record.parse(data) for _, data in log.records()]

    def actions(self) -> list[str]:
        """Of the audit log."""
        return [record.action for record in self.records()]

    def verify(self) -> Report:
        """Of the audit log."""
        lines = SecondFile(self.directory / files.CHECKPOINTS).lines()
        with Reader(self.directory / files.DATABASE) as log:
            return verify(log, lines, pinned=files.known_keys(self.directory))

    def copy(self, to: Path) -> House:
        """The state directory as it is now, elsewhere."""
        shutil.copytree(self.directory, to)
        return House(to, self.archives, self.now, self.skew, bundles=dict(self.bundles))
