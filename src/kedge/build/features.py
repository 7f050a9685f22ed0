"""Which feature stands where: the schema, from the model's inputs, the data's columns and what the spec says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import pyarrow as pa

from kedge.build.graph import describe
from kedge.bundle.manifest import Feature, MissingPolicy, Source
from kedge.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kedge.build.spec import FeatureSpec, Spec
    from kedge.build.tables import Data
    from kedge.bundle.manifest import TensorSpec

WIDE: Final = 4096
"""Values a row past which an input is watched by summary."""
SUMMARIES: Final = ("mean", "std", "norm", "min", "max")
FLOATS: Final = ("FP16", "FP32", "FP64")


@dataclass(frozen=True)
class Placed:
    """A feature and the column of the data that carries it. A summary is one of five of the same list column."""

    feature: Feature
    data: str


def infer(spec: Spec, inputs: Sequence[TensorSpec], reference: Data) -> tuple[Placed, ...]:
    """Every feature, in the order of the inputs and their columns; vocabularies still empty where not said.

    Raises:
        SpecError: inputs and data do not fit, saying which input wants what and what the data has.
    """
    aside = (spec.data.label, spec.data.time) if spec.data else ()
    columns = [name for name in reference.table.column_names if name not in aside]
    placed: list[Placed] = []
    for tensor in inputs:
        _check_tensor(tensor)
        placed.extend(_of_input(tensor, spec, columns, reference, alone=len(inputs) == 1))
    names = [item.feature.name for item in placed]
    for name in spec.features:
        if name not in names:
            known = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
            raise SpecError(f"features.{name}: no input of the model carries this feature; the features are {known}")
    for item in placed:
        if names.count(item.feature.name) > 1:
            raise SpecError(f"features.{item.feature.name}: stands in two places; give one of them another name")
    return tuple(placed)


def _check_tensor(tensor: TensorSpec) -> None:
    if any(dim < 1 for dim in tensor.shape[1:]):
        raise SpecError(
            f"input {describe(tensor)}: only the batch may be dynamic; export the model with the other dimensions fixed"
        )
    if tensor.dtype == "BF16":
        raise SpecError(
            f"input {describe(tensor)}: BF16 inputs cannot be read from a table; take FP32 and cast in the graph"
        )


def _of_input(tensor: TensorSpec, spec: Spec, columns: list[str], data: Data, *, alone: bool) -> Iterator[Placed]:
    width = math.prod(tensor.shape[1:])
    said = [name for name, feature in spec.features.items() if feature is not None and feature.tensor == tensor.name]
    source = spec.feature(tensor.name).data or tensor.name
    if source in data.table.column_names and _is_list(data.table.schema.field(source).type):
        yield from _summary(tensor, source)
    elif len(tensor.shape) > 2 or width > WIDE:
        raise SpecError(
            f"input {describe(tensor)}: the data needs a column '{source}' of lists of {width} numbers for it; "
            f"it has {_listed(columns)}"
        )
    elif said:
        yield from _matrix(tensor, said, spec, data)
    elif width == 1 and not (alone and tensor.name not in spec.features and source not in columns):
        yield _one(tensor, tensor.name, 0, spec.feature(tensor.name), data)
    elif alone:
        unsaid = spec.listed is None and spec.data is not None and spec.data.label is None
        yield from _matrix(tensor, list(spec.listed or columns), spec, data, label_unsaid=unsaid)
    else:
        raise SpecError(
            f"input {describe(tensor)}: say which features it carries, each with tensor: {tensor.name} under features, "
            f"or give the data a column '{source}' of lists of {width} numbers"
        )


def _matrix(
    tensor: TensorSpec, names: list[str], spec: Spec, data: Data, *, label_unsaid: bool = False
) -> Iterator[Placed]:
    width = math.prod(tensor.shape[1:])
    if len(names) != width:
        hint = "if one of them is the label, name it as data.label; else " if label_unsaid else ""
        raise SpecError(
            f"input {describe(tensor)} takes {width} features, the data gives {len(names)}: {_listed(names)}; "
            f"{hint if len(names) == width + 1 else ''}list the right ones under features, in the model's order"
        )
    places: dict[int, str] = {}
    for index, name in enumerate(names):
        stated = spec.feature(name).column
        place = index if stated is None else stated
        if place >= width:
            raise SpecError(f"features.{name}.column: {place} is past the end of {describe(tensor)}")
        if place in places:
            raise SpecError(f"features.{name}.column: {place} is taken by feature '{places[place]}'")
        places[place] = name
    for place in sorted(places):
        yield _one(tensor, places[place], place, spec.feature(places[place]), data)


def _one(tensor: TensorSpec, name: str, place: int, said: FeatureSpec, data: Data) -> Placed:
    source = said.data or name
    if source not in data.table.column_names:
        raise SpecError(
            f"input {describe(tensor)}: data file '{data.uri}' has no column '{source}' for feature '{name}'; "
            f"it has {_listed(data.table.column_names)}"
        )
    kind = _kind(tensor, name, said, data.table.schema.field(source).type)
    feature = Feature(
        name=name,
        dtype=tensor.dtype,
        source=Source(tensor=tensor.name, column=place),
        kind=kind,
        valid=said.valid,
        vocabulary=said.vocabulary,
        missing=_missing(tensor, name, said, kind),
    )
    if kind == "numeric" and said.vocabulary:
        raise SpecError(f"features.{name}.vocabulary: only a categorical feature has one")
    if kind == "categorical" and (said.valid.min, said.valid.max) != (None, None):
        raise SpecError(f"features.{name}.valid: only a numeric feature has a valid range")
    if said.valid.min is not None and said.valid.max is not None and said.valid.min > said.valid.max:
        raise SpecError(f"features.{name}.valid: min {said.valid.min} is above max {said.valid.max}")
    return Placed(feature, source)


def _summary(tensor: TensorSpec, source: str) -> Iterator[Placed]:
    for index, what in enumerate(SUMMARIES):
        place = Source(tensor=tensor.name, column=index)
        missing = MissingPolicy(kind="nan" if tensor.dtype in FLOATS else "none")
        yield Placed(
            Feature(name=f"{tensor.name}.{what}", dtype=tensor.dtype, source=place, kind="summary", missing=missing),
            source,
        )


def _kind(tensor: TensorSpec, name: str, said: FeatureSpec, column: pa.DataType) -> Literal["numeric", "categorical"]:
    text = _is_text(column)
    if tensor.dtype == "BYTES":
        if not text:
            raise SpecError(f"feature '{name}' is {column} in the data, but input {describe(tensor)} takes text")
        if said.kind == "numeric":
            raise SpecError(f"features.{name}.kind: input {describe(tensor)} takes text, which cannot be numeric")
        return "categorical"
    number = pa.types.is_integer(column) or pa.types.is_floating(column) or pa.types.is_boolean(column)
    if not (number or pa.types.is_decimal(column) or pa.types.is_null(column)):
        raise SpecError(
            f"feature '{name}' is {'text' if text else column} in the data, input {describe(tensor)} takes numbers; "
            "encode it in a pipeline.onnx or leave it out of features"
        )
    return said.kind or ("categorical" if pa.types.is_boolean(column) else "numeric")


def _missing(tensor: TensorSpec, name: str, said: FeatureSpec, kind: str) -> MissingPolicy:
    """NaN where the input can hold it, the empty string for text, nothing for integers and booleans."""
    if said.missing is None:
        if tensor.dtype == "BYTES":
            return MissingPolicy(kind="sentinel", value="")
        return MissingPolicy(kind="nan" if tensor.dtype in FLOATS else "none")
    policy, where = said.missing, f"features.{name}.missing"
    if policy.kind == "nan" and tensor.dtype not in FLOATS:
        raise SpecError(f"{where}: input {describe(tensor)} has no NaN; say none, or the value that stands for missing")
    if (policy.kind == "sentinel") != (policy.value is not None):
        raise SpecError(f"{where}: a sentinel needs a value, and only a sentinel has one")
    if policy.kind == "sentinel":
        if isinstance(policy.value, str) != (tensor.dtype == "BYTES"):
            raise SpecError(f"{where}: {policy.value!r} cannot stand in input {describe(tensor)}")
        if isinstance(policy.value, float) and (kind == "categorical" or tensor.dtype not in FLOATS):
            raise SpecError(f"{where}: {policy.value!r} must be a whole number")
    return MissingPolicy(kind=policy.kind, value=policy.value)


def _is_text(column: pa.DataType) -> bool:
    if pa.types.is_dictionary(column):
        return _is_text(column.value_type)
    return bool(pa.types.is_string(column) or pa.types.is_large_string(column) or pa.types.is_string_view(column))


def _is_list(column: pa.DataType) -> bool:
    return bool(pa.types.is_list(column) or pa.types.is_large_list(column) or pa.types.is_fixed_size_list(column))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
