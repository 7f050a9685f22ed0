"""What the kernel watches for a bundle, from its schema, reference and serving config."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from kedge.errors import KernelError
from kedge.kernel.contract import (
    MAX_SCORES,
    MAX_VOCABULARY,
    CategoricalFeature,
    Layout,
    NumericFeature,
    Tensor,
)

if TYPE_CHECKING:
    from kedge.bundle.manifest import (
        Distributions,
        Feature,
        Manifest,
        NumericReference,
        Schema,
        Serving,
        TensorSpec,
    )


def build(manifest: Manifest, schema: Schema, distributions: Distributions | None, serving: Serving) -> Layout:
    """The layout: features in the order of the reference, tensors in the order the features first read them.

    Without a reference there is nothing to bin against: only schema, latency and errors are watched.

    Raises:
        KernelError: schema, reference and tensors do not fit each other.
    """
    inputs = tuple(spec.name for spec in manifest.inputs)
    if distributions is None:
        return Layout(schema_inputs=inputs)
    specs = {spec.name: spec for spec in manifest.inputs}
    known = {feature.name: feature for feature in schema.features}
    tensors: dict[str, Tensor] = {}
    features: list[NumericFeature | CategoricalFeature] = []
    for reference in distributions.features:
        feature = known.get(reference.name)
        if feature is None or feature.source.tensor not in specs:
            raise KernelError(f"feature '{reference.name}' has a reference but no place in the schema or the inputs")
        if (reference.kind == "categorical") != (feature.kind == "categorical"):
            raise KernelError(
                f"feature '{reference.name}' is {feature.kind} in the schema, {reference.kind} in the reference"
            )
        tensor = _tensor(specs[feature.source.tensor], summary=feature.kind == "summary")
        if tensors.setdefault(tensor.name, tensor) != tensor:
            raise KernelError(f"tensor '{tensor.name}' is read both by column and as a summary")
        index = list(tensors).index(tensor.name)
        if reference.kind == "categorical":
            features.append(categorical(feature, index))
        else:
            features.append(_numeric(feature, reference, index))
    prediction = serving.prediction
    return Layout(
        tensors=tuple(tensors.values()),
        features=tuple(features),
        classes=len(prediction.classes) if prediction else 0,
        scores=tuple(_score(reference, i) for i, reference in enumerate(distributions.scores[:MAX_SCORES])),
        reliability_edges=distributions.reliability.edges if distributions.reliability else (),
        schema_inputs=inputs,
    )


def _tensor(spec: TensorSpec, *, summary: bool) -> Tensor:
    row = spec.shape[1:]
    if any(dim < 1 for dim in row):
        raise KernelError(
            f"tensor '{spec.name}' {list(spec.shape)}: only the batch may be dynamic where features are watched"
        )
    if not summary and len(row) > 1:
        raise KernelError(
            f"tensor '{spec.name}' {list(spec.shape)}: declare its features as summary; columns need [N, F]"
        )
    return Tensor(name=spec.name, columns=math.prod(row), summary=summary)


def _numeric(feature: Feature, reference: NumericReference, tensor: int) -> NumericFeature:
    missing: float | None = None
    if feature.missing.kind == "nan":
        missing = math.nan
    elif feature.missing.kind == "sentinel":
        if not isinstance(feature.missing.value, int | float):
            raise KernelError(f"feature '{feature.name}': the sentinel of a numeric feature must be a number")
        missing = float(feature.missing.value)
    return NumericFeature(
        name=feature.name,
        tensor=tensor,
        column=feature.source.column,
        edges=reference.edges,
        atoms=reference.atoms,
        valid_min=-math.inf if feature.valid.min is None else feature.valid.min,
        valid_max=math.inf if feature.valid.max is None else feature.valid.max,
        missing=missing,
        center=reference.center,
        scale=reference.scale,
    )


def categorical(feature: Feature, tensor: int) -> CategoricalFeature:
    """How the kernel reads a categorical feature of this tensor. Raises `KernelError` where it cannot."""
    missing = feature.missing.value if feature.missing.kind == "sentinel" else None
    if isinstance(missing, float):
        raise KernelError(f"feature '{feature.name}': the sentinel of a categorical feature must be text or an integer")
    return CategoricalFeature(
        name=feature.name,
        tensor=tensor,
        column=feature.source.column,
        vocabulary=feature.vocabulary[:MAX_VOCABULARY],
        other=feature.vocabulary[MAX_VOCABULARY:],
        missing=missing,
    )


def _score(reference: NumericReference, column: int) -> NumericFeature:
    return NumericFeature(
        name=reference.name,
        tensor=0,
        column=column,
        edges=reference.edges,
        atoms=reference.atoms,
        center=reference.center,
        scale=reference.scale,
    )
