"""Labels as clients report them and prediction ids as planes open them, in the words of `kedge.monitor.outcomes`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kedge.monitor.outcomes.batch import ClassIndex, Label, Opened
from kedge.plane import token

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from kedge.plane.contract import TokenKey
    from kedge.proto import outcomes as pb


def unsealer(plane: str) -> Callable[[Sequence[str], Sequence[TokenKey]], NDArray[np.void]]:
    """How prediction ids are opened: by the extension where it serves."""
    if plane != "native":
        return token.unseal
    from kedge.plane.native import tokens  # noqa: PLC0415 - there is no extension in every build

    return tokens.unseal


def label(outcome: pb.Outcome) -> Label:
    """The label of an outcome as the book takes it."""
    kind = outcome.WhichOneof("label")
    if kind == "class_name":
        return outcome.class_name
    if kind == "class_index":
        return ClassIndex(outcome.class_index)
    return outcome.number if kind == "number" else None


def opened(table: NDArray[np.void]) -> Opened:
    """Columns of `kedge.plane.token.COLUMNS` as the book takes them."""

    def integers(name: str) -> NDArray[np.int64]:
        return table[name].astype(np.int64)

    return Opened(
        seal=table["status"],
        bundle=table["bundle"],
        arm=table["arm"],
        epoch=integers("epoch"),
        boot=table["boot"],
        shard=table["shard"],
        sequence=integers("sequence"),
        seconds=integers("seconds"),
        slice=integers("slice"),
        key_bits=integers("key_bits"),
        kind=table["kind"],
        value=table["value"],
        lower=table["lower"],
        upper=table["upper"],
        label=integers("label"),
        count=integers("count"),
        steps=integers("probabilities"),
    )
