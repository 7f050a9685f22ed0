"""Prediction ids opened by the extension, five times faster than in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kedge._dataplane import unseal_tokens
from kedge.plane.token import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from kedge.plane.contract import TokenKey


def unseal(texts: Sequence[str], keys: Sequence[TokenKey]) -> NDArray[np.void]:
    """See `kedge.plane.token.unseal`."""
    return np.frombuffer(unseal_tokens(list(texts), [(key.id, key.secret) for key in keys]), COLUMNS)
