"""A bundle as the settings of `kedge._dataplane.Plane.load`, and the rows it is warmed up with."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from kedge.bundle import conformal, golden, layout
from kedge.dtypes import DTYPES
from kedge.kernel.state import layout_digest
from kedge.plane.native.tensors import Packed, pack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kedge.bundle.contents import Bundle
    from kedge.bundle.manifest import TensorSpec
    from kedge.bundle.slices import SliceFeature
    from kedge.plane.contract import LoadOptions

_KINDS: Final = {"probabilities": 1, "logits": 2, "label": 3, "value": 4}
_SCORES: Final = {"lac": 0, "absolute": 1, "scaled": 2, "quantile": 3}
_MODES: Final = {"auto": 0, "inline": 1, "pool": 2}


def load_settings(bundle: Bundle, options: LoadOptions, key: int) -> dict[str, Any]:
    """What the extension needs to know of a bundle.

    Raises:
        KernelError: the reference does not fit the schema.
    """
    manifest, serving = bundle.manifest, bundle.serving
    watched = bundle.layout()
    names = [spec.name for spec in manifest.inputs]
    outputs = [spec.name for spec in manifest.outputs]
    prediction = serving.prediction

    def position(role: str) -> int | None:
        name = getattr(prediction, role, None)
        return None if name is None else outputs.index(name)

    return {
        "key": key,
        "bundle": bundle.id,
        "name": bundle.name,
        "version": bundle.version,
        "path": str(bundle.model_path),
        "intra_op_threads": options.intra_op_threads or serving.execution.intra_op_threads,
        "providers": list(serving.execution.providers),
        "inputs": _specs(manifest.inputs),
        "outputs": _specs(manifest.outputs),
        "batchable": manifest.batchable,
        "prediction_kind": _KINDS[prediction.kind] if prediction else 0,
        "prediction_output": position("output") or 0,
        "label_output": position("label_output"),
        "classes": list(prediction.classes) if prediction else [],
        "lower_output": position("lower_output") or 0,
        "upper_output": position("upper_output") or 0,
        "sigma_output": position("sigma_output") or 0,
        "calibration": _calibration(bundle),
        "outcomes": serving.outcomes,
        "slices": [_slice(item, names) for item in bundle.slices().features],
        "max_batch": serving.batching.max_batch,
        "max_queue_delay_us": serving.batching.max_queue_delay_us,
        "max_queue": serving.batching.max_queue,
        "execution": _MODES[serving.execution.mode],
        "instances": serving.execution.instances,
        "layout": watched,
        "layout_digest": layout_digest(watched),
        "layout_inputs": [names.index(tensor.name) for tensor in watched.tensors],
    }


def _slice(item: SliceFeature, inputs: Sequence[str]) -> tuple[Any, ...]:
    """Input, column, stride, edges, what is missing beside NaN, categories as the kernel sees them, places of slots."""
    feature = item.feature
    place, column = inputs.index(feature.source.tensor), feature.source.column
    if feature.kind == "categorical":
        known = layout.categorical(feature, 0)
        return place, column, item.stride, [], math.nan, known, list(item.places_of_slots)
    # A sentinel of a numeric feature is a number: bundle/layout.py refuses any other.
    missing = float(feature.missing.value) if feature.missing.kind == "sentinel" else math.nan  # type: ignore[arg-type]
    return place, column, item.stride, list(item.edges), missing, None, []


def _calibration(bundle: Bundle) -> tuple[int, float, float] | None:
    """Kind of score, miss rate, and the threshold it gives; None without calibration."""
    alpha = bundle.serving.confidence.alpha
    score = conformal.threshold(bundle.distributions, alpha)
    if score is None or bundle.distributions is None or bundle.distributions.conformal is None:
        return None
    return _SCORES[bundle.distributions.conformal.score], alpha, score


def _specs(specs: Sequence[TensorSpec]) -> list[tuple[str, int, list[int]]]:
    return [(spec.name, DTYPES[spec.dtype].onnx, list(spec.shape)) for spec in specs]


def sample(bundle: Bundle) -> list[Packed]:
    """One array an input, in the bundle's order: the golden rows, else zeros where a size is free."""
    stated = {tensor.name: tensor for tensor in bundle.golden.inputs} if bundle.golden else {}
    packed = []
    for spec in bundle.manifest.inputs:
        dtype = DTYPES[spec.dtype]
        if spec.name in stated:
            array = golden.decode(stated[spec.name])
        else:
            shape = tuple(1 if extent == -1 else extent for extent in spec.shape)
            array = np.zeros(shape, dtype.numpy) if dtype.size else np.full(shape, b"", dtype=object)
        packed.append(pack(dtype, array))
    return packed
