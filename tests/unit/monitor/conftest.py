"""A real bundle with a reference, opened, and a way to count traffic for it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from typing import TYPE_CHECKING

from kedge_testing import flights

from kedge.bundle.store import Store
from kedge.kernel.select import select
from kedge.kernel.snapshot import Counts

if TYPE_CHECKING:
    from collections.abc import Callable

    from kedge.bundle.contents import Bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    root = tmp_path_factory.mktemp("monitor")
    return Store(root / "store").add(flights.bundle(root))


@pytest.fixture(scope="session")
def count(bundle: Bundle) -> Callable[[pa.Table], Counts]:
    """Counts of the rows of a table, as a plane would make them."""
    layout = bundle.layout()

    def counted(table: pa.Table) -> Counts:
        sketch = select("reference").sketch(layout)
        arrays = []
        for tensor in layout.tensors:
            column = table[tensor.name]
            text = pa.types.is_string(column.type)
            arrays.append(np.array(column.to_pylist(), dtype=object) if text else column.to_numpy())
        sketch.observe(arrays)
        return Counts.parse(sketch.snapshot(), layout)

    return counted
