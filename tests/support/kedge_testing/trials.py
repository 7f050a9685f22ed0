"""Bundles to compare with each other, and the evidence a plane has of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kedge.bundle.manifest import Distributions, Execution, NumericReference, Prediction, Serving
from kedge.kernel.snapshot import Counts
from kedge.plane import cells
from kedge.plane.contract import Arm, ArmRoute, Handle, Route
from kedge.plane.evidence import Evidence
from kedge_testing import bundles, models

if TYPE_CHECKING:
    import onnx

    from kedge_testing.serving import Served

SALT = bytes(range(16))
FOREVER = 10**9
"""Seconds of a period that no test sees the end of."""
EDGES = (0.0, 0.25, 0.5, 0.75)


def root(version: int = 1, model: onnx.ModelProto | None = None) -> bundles.Recipe:
    """The model `root`, or another with the same outputs: two classes, whose scores have a histogram of `EDGES`."""
    return bundles.Recipe(
        models.root() if model is None else model,
        "root",
        version=str(version),
        distributions=Distributions(rows=32, features=(), classes=(16, 16, 0), scores=(score("0"), score("1"))),
        serving=Serving(prediction=Prediction(output="probabilities", kind="probabilities", classes=("no", "yes"))),
    )


def gather(version: int = 1) -> bundles.Recipe:
    """The model `poison`, on threads of its own: one predicted value."""
    return bundles.Recipe(
        models.poison(),
        "gather",
        version=str(version),
        distributions=Distributions(rows=32, features=(), scores=(score("y"),)),
        serving=Serving(prediction=Prediction(output="y", kind="value"), execution=Execution(mode="pool")),
    )


def score(name: str, edges: tuple[float, ...] = EDGES) -> NumericReference:
    """Reference of a score."""
    return NumericReference(name=name, edges=edges, center=0.0, scale=1.0, counts=(1,) * 32)


def split(control: Handle, canary: Handle, share: float, epoch: int = 1, **fields: Any) -> Route:
    """A route that gives `share` to the canary; `fields` of `Route` beside."""
    arms = (ArmRoute(canary, Arm.CANARY, share), ArmRoute(control, Arm.CONTROL, 1.0 - share))
    return Route(canary.model, epoch, arms, **({"salt": SALT, "sticky_for": FOREVER} | fields))


def evidence(served: Served, arm: Arm, epoch: int | None = None) -> Evidence:
    """Of all bundles under an arm; of one epoch or all."""
    total = Evidence.empty()
    for (_, found, number), cell in cells.decode(served.plane.snapshot()).items():
        if found is arm and epoch in (None, number):
            total = total + Evidence.parse(cell.evidence)
    return total


def answered(served: Served, codes: slice = slice(None)) -> int:
    """Answers counted so far, of these statuses, under any arm but SHADOW."""
    total = 0
    for (bundle, arm, _), cell in cells.decode(served.plane.snapshot()).items():
        if arm is not Arm.SHADOW:
            total += int(Counts.parse(cell.counts, served.bundle(bundle).layout()).status[codes].sum())
    return total


def column(*values: float) -> tuple[str, str, np.ndarray]:
    """Input x [N, 1] float32 of `root`."""
    return "x", "FP32", np.array(values, np.float32).reshape(-1, 1)
