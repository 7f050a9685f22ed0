"""The JSON files of a bundle against each other: each may be valid alone and still contradict the rest."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from kedge.bundle import golden
from kedge.bundle.slices import Slices
from kedge.errors import BundleError, KernelError
from kedge.kernel.contract import CATEGORICAL_SLOTS, CONFIDENCE_SLOTS, NUMERIC_SLOTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kedge.bundle.contents import Bundle
    from kedge.bundle.manifest import Distributions, Feature, Gate, GoldenTensor, Prediction, TensorSpec

_SUMMARIES = 5


def check(bundle: Bundle) -> None:
    """Check what the files say about each other.

    Raises:
        BundleError: naming the file and the contradiction.
    """
    manifest = bundle.manifest
    _distinct((spec.name for spec in manifest.inputs), "bundle.json: input")
    _distinct((spec.name for spec in manifest.outputs), "bundle.json: output")
    for spec in (*manifest.inputs, *manifest.outputs):
        if any(dim < -1 for dim in spec.shape):
            raise BundleError(f"bundle.json: tensor '{spec.name}' has a dimension below -1")
        if manifest.batchable and spec.shape[:1] != (-1,):
            raise BundleError(f"bundle.json: batchable, but the first dimension of '{spec.name}' is not dynamic")
    _check_provenance(bundle)
    _check_schema(bundle)
    if bundle.serving.prediction is not None:
        _check_prediction(bundle.serving.prediction, manifest.outputs)
    if bundle.distributions is not None:
        _check_distributions(bundle, bundle.distributions)
    if bundle.golden is not None:
        _check_golden(bundle.golden.inputs, manifest.inputs, "input")
        _check_golden(bundle.golden.outputs, manifest.outputs, "output")
    for gate in bundle.gates.gates:
        if gate.passed != _holds(gate):
            raise BundleError(
                f"eval/gates.json: {gate.metric} {gate.value} {gate.op} {gate.bound} is recorded passed={gate.passed}"
            )


def _check_provenance(bundle: Bundle) -> None:
    where, said = "lineage/provenance.json", bundle.provenance
    if said.parent not in (None, bundle.manifest.parent):
        raise BundleError(f"{where}: its parent is not the one of bundle.json")
    known = {one.digest.sha256 for one in said.dependencies}
    for snapshot in bundle.snapshots.snapshots:
        if snapshot.sha256 not in known:
            raise BundleError(f"{where}: the {snapshot.role} data of data/snapshots.json is not among its dependencies")


def _distinct(names: Iterable[str], what: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise BundleError(f"{what} '{name}' appears twice")
        seen.add(name)


def _check_schema(bundle: Bundle) -> None:
    schema = bundle.schema
    inputs = {spec.name: spec for spec in bundle.manifest.inputs}
    _distinct((feature.name for feature in schema.features), "features/schema.json: feature")
    for feature in schema.features:
        where = f"features/schema.json: feature '{feature.name}'"
        spec = inputs.get(feature.source.tensor)
        if spec is None:
            raise BundleError(f"{where}: the model has no input '{feature.source.tensor}'")
        if feature.dtype != spec.dtype:
            raise BundleError(f"{where}: is {feature.dtype}, its tensor '{spec.name}' {spec.dtype}")
        width = _SUMMARIES if feature.kind == "summary" else math.prod(spec.shape[1:])
        if width >= 0 and feature.source.column >= width:
            raise BundleError(f"{where}: column {feature.source.column} of '{spec.name}', which has {width}")
        if reason := _feature_fault(feature):
            raise BundleError(f"{where}: {reason}")
    try:
        Slices.of(schema)
    except BundleError as error:
        raise BundleError(f"features/schema.json: {error}") from error


def _feature_fault(feature: Feature) -> str | None:
    low, high = feature.valid.min, feature.valid.max
    if low is not None and high is not None and low > high:
        return f"valid range [{low}, {high}] is empty"
    if (feature.missing.kind == "sentinel") != (feature.missing.value is not None):
        return "a sentinel needs a value, and only a sentinel has one"
    if feature.kind == "categorical":
        if len(set(feature.vocabulary)) != len(feature.vocabulary):
            return "a category appears twice"
        if feature.dtype != "BYTES" and any(isinstance(value, str) for value in feature.vocabulary):
            return f"categories are text, its tensor {feature.dtype}"
    elif feature.vocabulary:
        return f"a {feature.kind} feature has no vocabulary"
    elif feature.dtype == "BYTES":
        return f"a {feature.kind} feature cannot be read from text"
    return None


def _check_prediction(prediction: Prediction, outputs: Sequence[TensorSpec]) -> None:
    shapes = {spec.name: spec.shape for spec in outputs}
    where = "config/serving.json: prediction"
    bounds = (prediction.lower_output, prediction.upper_output)
    for name in (prediction.output, prediction.label_output, prediction.sigma_output, *bounds):
        if name is not None and name not in shapes:
            raise BundleError(f"{where}: the model has no output '{name}'")
    spreads = {prediction.sigma_output, *bounds} - {None}
    if spreads and (prediction.kind != "value" or (None in bounds and bounds != (None, None))):
        raise BundleError(f"{where}: sigma and bounds are of values, and bounds come in pairs")
    _distinct(prediction.classes, f"{where}: class")
    if (prediction.kind == "value") == bool(prediction.classes):
        raise BundleError(f"{where}: kind '{prediction.kind}' with {len(prediction.classes)} classes")
    width = math.prod(shapes[prediction.output][1:])
    fits = {len(prediction.classes)} | ({1} if len(prediction.classes) == 2 else set())
    if prediction.kind in ("probabilities", "logits") and width > 0 and width not in fits:
        raise BundleError(
            f"{where}: {len(prediction.classes)} classes, but '{prediction.output}' has {width} values a row"
        )


def _check_distributions(bundle: Bundle, distributions: Distributions) -> None:
    where = "reference/distributions.json"
    order = {feature.name: i for i, feature in enumerate(bundle.schema.features)}
    _distinct((reference.name for reference in distributions.features), f"{where}: feature")
    positions = [order.get(reference.name, -1) for reference in distributions.features]
    if -1 in positions or positions != sorted(positions):
        raise BundleError(f"{where}: its features are not those of features/schema.json, in their order")
    for reference in (*distributions.features, *distributions.scores):
        slots = NUMERIC_SLOTS if reference.kind == "numeric" else CATEGORICAL_SLOTS
        _counts(reference.counts, (slots,), f"{where}: '{reference.name}'")
        if reference.kind == "numeric" and len(reference.bin_means) not in (0, len(reference.edges) - 1):
            raise BundleError(f"{where}: '{reference.name}' has {len(reference.bin_means)} bin means, one a bin is due")
    for name in ("top", "margin", "entropy"):
        _counts(getattr(distributions, name), (0, CONFIDENCE_SLOTS), f"{where}: {name}")
    try:
        layout = bundle.layout()
    except KernelError as error:
        raise BundleError(f"{where}: {error}") from error
    if layout.classes:
        _counts(distributions.classes, (0, layout.classes + 1), f"{where}: classes")
    if (reliability := distributions.reliability) is not None:
        bins = len(reliability.edges) + 1
        for counts in (reliability.n, reliability.sum_p, reliability.sum_y):
            _counts(counts, (bins,), f"{where}: reliability")
    if (conformal := distributions.conformal) is not None:
        _counts(conformal.counts, (max(0, len(conformal.edges) - 1),), f"{where}: conformal")
        if not _scores_fit(conformal.score, bundle.serving.prediction):
            raise BundleError(f"{where}: scores of kind '{conformal.score}' are not of the prediction that is served")


def _scores_fit(score: str, prediction: Prediction | None) -> bool:
    if prediction is None:
        return False
    if prediction.kind != "value":
        return score == "lac" and prediction.kind != "label"
    needed = {
        "absolute": (prediction.output,),
        "scaled": (prediction.sigma_output,),
        "quantile": (prediction.lower_output, prediction.upper_output),
    }
    return score in needed and None not in needed[score]


def _counts(values: Sequence[float], lengths: tuple[int, ...], where: str) -> None:
    if len(values) not in lengths:
        raise BundleError(f"{where}: {len(values)} counts, expected {' or '.join(map(str, lengths))}")
    if any(value < 0 for value in values):
        raise BundleError(f"{where}: a count is below zero")


def _check_golden(tensors: Sequence[GoldenTensor], specs: Sequence[TensorSpec], what: str) -> None:
    where = f"golden/golden.json: {what}"
    if [tensor.name for tensor in tensors] != [spec.name for spec in specs]:
        raise BundleError(f"{where}s are not those of bundle.json, in their order")
    for tensor, spec in zip(tensors, specs, strict=True):
        fits = len(tensor.shape) == len(spec.shape) and all(
            stated in (-1, dim) for dim, stated in zip(tensor.shape, spec.shape, strict=True)
        )
        if tensor.dtype != spec.dtype or not fits:
            raise BundleError(
                f"{where} '{spec.name}' is {tensor.dtype} {list(tensor.shape)}, "
                f"bundle.json says {spec.dtype} {list(spec.shape)}"
            )
        golden.decode(tensor)


def _holds(gate: Gate) -> bool:
    return gate.value >= gate.bound if gate.op == ">=" else gate.value <= gate.bound
