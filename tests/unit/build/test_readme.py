"""The README's converters, run as they stand there, and a bundle built from what they write."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import kedge.build
from kedge.build import build
from kedge.bundle.store import Store

README = (Path(kedge.build.__file__).parent / "README.md").read_text()
NEEDS = {
    "scikit-learn": ("sklearn", "skl2onnx"),
    "xgboost": ("xgboost", "onnxmltools"),
    "torch": ("torch", "onnxscript"),
}
BLOCKS = dict(re.findall(r"```python (\S+)\n(.*?)```", README, re.DOTALL))


def test_every_converter_of_the_readme_is_tested_here() -> None:
    assert set(BLOCKS) == set(NEEDS)


@pytest.mark.parametrize("library", NEEDS)
@pytest.mark.filterwarnings("default")
def test_the_snippet_gives_a_model_that_the_smallest_spec_bundles(
    library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in NEEDS[library]:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed; it is no dependency of Kedge")
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 4)).astype(np.float32)
    y = (x[:, 0] + x[:, 1] > 0).astype(np.int64)
    space: dict[str, Any] = {"X": x, "y": y}
    exec(BLOCKS[library], space)  # noqa: S102 - a block of our own README
    pq.write_table(pa.table({name: x[:, i] for i, name in enumerate("abcd")} | {"label": y}), "reference.parquet")
    (spec,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    Path("spec.yaml").write_text(spec)
    result = build(Path("spec.yaml"), Path("risk.kedge"))
    assert (result.task, result.batchable, len(result.features)) == ("classification", True, 4)
    assert result.prediction is not None
    assert result.prediction.kind == ("logits" if library == "torch" else "probabilities")
    assert Store(tmp_path / "store").add(tmp_path / "risk.kedge").id == result.id
