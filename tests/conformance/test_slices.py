"""Slices: every plane seals the same slice id for the same row, whatever the row holds and however it is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from kedge_testing import bundles, models
from kedge_testing.serving import Caller, Served, outputs, request
from onnx import TensorProto as T

from kedge.bundle.manifest import Feature, MissingPolicy, Schema, Slicing, Source
from kedge.bundle.slices import Slices
from kedge.dtypes import DTYPES
from kedge.plane import token
from kedge.plane.contract import TokenKey, Tokens
from kedge.plane.token import unseal

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from kedge.bundle.contents import Bundle

TOKENS = Tokens(TokenKey(7, bytes(16)), boot=1)
IDS = "kedge.prediction_id"
TAIL = 20
ROWS = 200
RNG = np.random.default_rng(4)


def sealed(caller: Caller, model: str, tensors: dict[str, tuple[str, NDArray[Any]]], form: str = "raw") -> list[int]:
    """Slice ids of the rows of one request."""
    message = request(model, *((name, dtype, array) for name, (dtype, array) in tensors.items()), form=form)
    message.outputs.add(name=IDS)
    table = unseal([text.decode() for text in outputs(caller.infer(message))[IDS]], [TOKENS.key])
    assert (table["status"] == token.VALID).all()
    found: list[int] = table["slice"].tolist()
    return found


def named(schema: Schema, ids: list[int]) -> list[tuple[str, ...]]:
    """Names of the slices of ids."""
    slices = Slices.of(schema)
    return [tuple(slices.names[number] for number in row) for row in slices.numbers(np.array(ids)).tolist()]


def expected(schema: Schema, tensors: dict[str, NDArray[Any]]) -> list[int]:
    slices = Slices.of(schema)
    strides = np.array([item.stride for item in slices.features])
    ids: list[int] = (1 + (slices.places(tensors) * strides).sum(axis=1)).tolist()
    return ids


def test_one_input_a_feature(listen: Callable[..., Served]) -> None:
    schema = Schema(
        features=(
            Feature(
                name="carrier", dtype="BYTES", source=Source(tensor="carrier"), kind="categorical",
                vocabulary=("UA", "B6", "übermäßig lang"), missing=MissingPolicy(kind="sentinel", value=""),
            ),
            Feature(
                name="hour", dtype="INT64", source=Source(tensor="hour"), kind="categorical", vocabulary=(6, -7),
                missing=MissingPolicy(kind="sentinel", value=99),
            ),
            Feature(name="delay", dtype="FP32", source=Source(tensor="delay"), kind="numeric"),
        ),
        slices=("carrier", "hour", Slicing(feature="delay", edges=(15, 60))),
    )  # fmt: skip
    inputs = (
        models.value("carrier", T.STRING, "N"),
        models.value("hour", T.INT64, "N", 1),
        models.value("delay", T.FLOAT, "N"),
    )
    served = listen(tokens=TOKENS)
    served.serve(bundles.Recipe(models.passing(*inputs), "parts", schema=schema))
    caller = Caller(served.address)
    carrier = np.array([b"UA", b"B6", "übermäßig lang".encode(), b"ua", b"", b"UA\0"], object)
    hour = np.array([[6], [-7], [7], [99], [-(2**63)], [6]], np.int64)
    delay = np.array([14.5, 15, np.nan, np.inf, -np.inf, 60], np.float32)
    tensors = {"carrier": ("BYTES", carrier), "hour": ("INT64", hour), "delay": ("FP32", delay)}
    for form in ("raw", "typed"):
        assert named(schema, sealed(caller, "parts", tensors, form)) == [
            ("carrier=UA", "hour=6", "delay=below 15"),
            ("carrier=B6", "hour=-7", "delay=15 to 60"),
            ("carrier=übermäßig lang", "hour=(unseen)", "delay=(missing)"),
            ("carrier=(unseen)", "hour=(missing)", "delay=60 and above"),
            ("carrier=(missing)", "hour=(unseen)", "delay=below 15"),
            ("carrier=(unseen)", "hour=6", "delay=60 and above"),
        ]
    # An answer of one row carries its id as a parameter.
    single = {name: (dtype, array[1:2]) for name, (dtype, array) in tensors.items()}
    answer = caller.infer(request("parts", *((name, *rest) for name, rest in single.items())))
    row = unseal([answer.parameters["kedge_prediction_id"].string_param], [TOKENS.key])[0]
    assert [int(row["slice"])] == sealed(caller, "parts", single)


def features_of(dtype: str) -> tuple[Feature, ...]:
    """Columns 0 and 2 of x: one of categories and one of numbers; in text categories alone."""
    if dtype == "BYTES":
        vocabulary: tuple[Any, ...] = tuple(f"c{index}" for index in range(70))
        missing = MissingPolicy(kind="sentinel", value="c7000")
    else:
        vocabulary, missing = (tuple(range(2)) if dtype == "BOOL" else tuple(range(70))), MissingPolicy()
    where = {"dtype": dtype, "missing": missing}
    column = Feature(name="k", source=Source(tensor="x", column=0), kind="categorical", vocabulary=vocabulary, **where)
    if dtype == "BYTES":
        return (column,)
    policy = MissingPolicy(kind="sentinel", value=3)
    number = Feature(name="v", source=Source(tensor="x", column=2), kind="numeric", dtype=dtype, missing=policy)
    return (column, number)


@pytest.mark.parametrize("dtype", DTYPES)
def test_columns_of_every_type(listen: Callable[..., Served], dtype: str) -> None:
    features = features_of(dtype)
    schema = Schema(
        features=features, slices=("k", *(Slicing(feature="v", edges=(0.5, 20, 1e6)) for _ in features[1:]))
    )
    served = listen(tokens=TOKENS)
    served.serve(bundles.Recipe(models.identity(DTYPES[dtype].onnx), "x", schema=schema))
    low, high = -5, 100
    numbers = RNG.integers(low, high, (ROWS, 3))
    if dtype == "BYTES":
        values = np.vectorize(lambda number: f"c{number}", otypes=[object])(numbers)
        text = values
        values = np.vectorize(str.encode, otypes=[object])(values)
    elif dtype == "BF16":
        wide = numbers.astype(np.float32)
        wide[::7] = np.nan
        wide[1::7] = 2.5
        text = values = bundles.bits_of(wide)
    else:
        kind = DTYPES[dtype].numpy
        values = (numbers % 2 if dtype == "BOOL" else np.abs(numbers) if kind.kind == "u" else numbers).astype(kind)
        if kind.kind == "f":
            values[::7] = np.nan
            values[1::7] = 2.5
            values[2::7] = np.inf
            values[3::7] = -np.inf
            values[4::7] = np.finfo(kind).max
        elif dtype != "BOOL":
            values[::7] = np.iinfo(kind).max
            values[1::7] = np.iinfo(kind).min
        text = values
    found = sealed(Caller(served.address), "x", {"x": (dtype, values)})
    assert found == expected(schema, {"x": text})
    assert len(set(found)) > 2
    # Too narrow for the last column: in no slice, not a crash.
    if len(features) > 1:
        assert sealed(Caller(served.address), "x", {"x": (dtype, np.ascontiguousarray(values[:3, :2]))}) == [0, 0, 0]


def test_real_rows(listen: Callable[..., Served], built: tuple[Bundle, dict[str, Any]]) -> None:
    bundle, columns = built
    by = ("carrier", "origin", Slicing(feature="wind_speed", edges=(5, 15)), "day_of_week")
    schema = bundle.schema.model_copy(update={"slices": by})
    served = listen(tokens=TOKENS)
    served.serve(
        bundles.Recipe(
            onnx.load(bundle.model_path), "flights", schema=schema, serving=bundle.serving,
            distributions=bundle.distributions,
        )
    )  # fmt: skip
    rows = {name: values.copy() for name, values in columns.items()}
    for name, at, value in (("carrier", 0, "ZZ"), ("carrier", 1, ""), ("wind_speed", 2, np.nan)):
        rows[name][at] = value
    types = {spec.name: spec.dtype for spec in bundle.manifest.inputs}
    sent = {
        name: (types[name], np.vectorize(str.encode, otypes=[object])(values) if types[name] == "BYTES" else values)
        for name, values in rows.items()
    }
    found = sealed(Caller(served.address), "flights", sent)
    assert found == expected(schema, rows)
    assert len(set(found)) > TAIL
    first, second, third, *_ = named(schema, found)
    assert (first[0], second[0], third[2]) == ("carrier=(unseen)", "carrier=(missing)", "wind_speed=(missing)")


def test_without_slices_the_id_is_0(listen: Callable[..., Served]) -> None:
    served = listen(tokens=TOKENS)
    served.serve(bundles.Recipe(models.identity(T.FLOAT), "plain"))
    x = np.zeros((3, 2), np.float32)
    assert sealed(Caller(served.address), "plain", {"x": ("FP32", x)}) == [0, 0, 0]


def test_rows_of_a_model_that_does_not_batch(listen: Callable[..., Served]) -> None:
    feature = Feature(name="v", dtype="FP32", source=Source(tensor="x"), kind="numeric")
    schema = Schema(features=(feature,), slices=(Slicing(feature="v", edges=(1,)),))
    served = listen(tokens=TOKENS)
    served.serve(bundles.Recipe(models.identity(T.FLOAT), "alone", batchable=False, schema=schema))
    x = np.array([[0.0], [1.0], [np.nan]], np.float32)
    assert sealed(Caller(served.address), "alone", {"x": ("FP32", x)}) == [1, 2, 3]
