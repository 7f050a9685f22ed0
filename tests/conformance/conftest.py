"""One suite for every data plane: the fixtures here are the only place that knows which planes there are."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import TensorProto as T

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from kedge_testing import bundles, models, serving

from kedge.bundle.manifest import Batching, Execution, Serving
from kedge.bundle.store import Store
from kedge.dtypes import DTYPES
from kedge.kernel.select import available, select
from kedge.plane.contract import LoadOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kedge.bundle.contents import Bundle
    from kedge.kernel.contract import Kernel
    from kedge.plane.contract import DataPlane

PLANES = {
    "portable": ("kedge.plane.portable.plane", "PortablePlane", "grpc", {}),
    "native": ("kedge.plane.native", "NativePlane", "kedge._dataplane", {"isolate": False}),
}
"""Module and class of each plane, the module without which it is not in this build, and how to make it here.

Loading first in a child process has tests of its own, in tests/unit/plane_native; here it would only cost time.
"""


@pytest.fixture(
    scope="session",
    params=[name for name, (_, _, needs, _) in PLANES.items() if importlib.util.find_spec(needs) is not None],
)
def make_plane(request: pytest.FixtureRequest) -> Callable[[Kernel], DataPlane]:
    """How a plane of the kind under test is made."""
    module, name, _, options = PLANES[request.param]
    made: Callable[[Kernel], DataPlane] = partial(getattr(importlib.import_module(module), name), **options)
    return made


@pytest.fixture(scope="session")
def kernel() -> Kernel:
    """The native kernel where it is built, else the one that needs no compiler."""
    return select("native" if "native" in available() else "reference")


@pytest.fixture(scope="session")
def served(
    make_plane: Callable[[Kernel], DataPlane], kernel: Kernel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[serving.Served]:
    """A plane with every model that tests ask; tests that change routes or drain make their own with `listen`."""
    one = serving.listen(make_plane, kernel, tmp_path_factory.mktemp("bundles"))
    x = np.array([[1.0, 2.0, 3.0, 4.0]], np.float32)
    add_rows = bundles.golden_rows(
        {"a": ("FP32", x), "b": ("FP32", 2 * x)}, {"sum": ("FP32", 3 * x), "difference": ("FP32", -x)}
    )
    pooled = Serving(execution=Execution(mode="pool"))
    one.serve(
        *(bundles.Recipe(models.identity(dtype.onnx), f"identity-{name.lower()}") for name, dtype in DTYPES.items()),
        bundles.Recipe(models.add(), "add", version="1.2.0", golden=add_rows),
        bundles.Recipe(models.poison(), "poison", serving=pooled),
        bundles.Recipe(models.slow(), "slow", batchable=False),
        bundles.Recipe(models.slow_rows(), "slow-rows", serving=pooled),
        bundles.Recipe(
            models.slow_rows(),
            "short-queue",
            serving=Serving(execution=Execution(mode="pool"), batching=Batching(max_batch=1, max_queue=2)),
        ),
        bundles.Recipe(models.classes(), "classes"),
        bundles.Recipe(models.nonzero(), "nonzero", batchable=False),
        bundles.Recipe(models.scalar(), "scalar", batchable=False),
        bundles.Recipe(models.mixed(), "mixed"),
        bundles.Recipe(models.identity(T.FLOAT), "alone", batchable=False),
    )
    yield one
    one.plane.stop()


@pytest.fixture(scope="session")
def caller(served: serving.Served) -> Iterator[serving.Caller]:
    """A channel to `served`."""
    one = serving.Caller(served.address)
    yield one
    one.channel.close()


@pytest.fixture
def listen(
    make_plane: Callable[[Kernel], DataPlane], kernel: Kernel, tmp_path: Path
) -> Iterator[Callable[..., serving.Served]]:
    """A function that starts a plane of its own for this test."""
    started: list[serving.Served] = []

    def start(**keywords: Any) -> serving.Served:
        started.append(serving.listen(make_plane, kernel, tmp_path, **keywords))
        return started[-1]

    yield start
    for one in started:
        one.plane.stop()


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, dict[str, Any]]:
    """The demo's classifier, built as the demo builds it, and July's first flights as it is asked about them."""
    from kedge.build import build
    from kedge.demo import flights, train

    folder = tmp_path_factory.mktemp("flights")
    spec = train.train(folder)[0]
    build(spec, folder / "flights.kedge")
    bundle = Store(folder / "store").add(folder / "flights.kedge")
    table = flights.load()
    rows = flights.window(table, date(2013, 6, 25), date(2013, 12, 31)).slice(0, serving.FLIGHTS)
    return bundle, train.inputs(rows)


@pytest.fixture(scope="session")
def flights(
    built: tuple[Bundle, dict[str, Any]],
    make_plane: Callable[[Kernel], DataPlane],
    kernel: Kernel,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[serving.Flights]:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    bundle, columns = built
    assert len(next(iter(columns.values()))) == serving.FLIGHTS
    session = onnxruntime.InferenceSession(str(bundle.model_path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    expected = dict(zip(names, session.run(names, columns), strict=True))
    served = serving.listen(make_plane, kernel, tmp_path_factory.mktemp("served"))
    handle = served.plane.load(bundle.directory, LoadOptions())
    served.bundles[bundle.id] = bundle
    served.publish(serving.only(handle))
    types = {spec.name: spec.dtype for spec in bundle.manifest.inputs}
    inputs = {name: (types[name], columns[name]) for name in types}
    yield serving.Flights(served, bundle, inputs, expected)
    served.plane.stop()
