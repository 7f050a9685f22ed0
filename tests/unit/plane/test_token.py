"""Prediction ids: what was sealed is what is read, and nothing else is."""

from __future__ import annotations

import base64
import math

import numpy as np
import pytest

from kedge.plane import token
from kedge.plane.contract import TokenKey
from kedge.plane.token import Label, Predicted, Sealed, Value, quantized, seal, unseal

KEY = TokenKey(3, bytes(range(1, 17)))
BUNDLE = bytes.fromhex("deadbeef01020304")


def example(predicted: Predicted) -> Sealed:
    """The example of the C++ codec's tests."""
    return Sealed(
        bundle=BUNDLE,
        epoch=0xFFFFFFFF,
        boot=0x0123456789ABCDEF,
        shard=65535,
        sequence=0xFFFFFFFFFFFF,
        seconds=1_700_000_000,
        slice=513,
        arm=2,
        key_bits=0xFFFFF,
        predicted=predicted,
    )


EXAMPLES = [
    Sealed(bytes(8), 0, 0, 0, 0, 0),
    example(None),
    example(Value(1.5, -2.0, math.inf)),
    *(example(Label(65535, tuple(1000 * i + 7 for i in range(count)))) for count in range(9)),
]


def read_back(row: np.void) -> Sealed:
    predicted: Predicted = None
    if row["kind"] == token.VALUE:
        predicted = Value(float(row["value"]), float(row["lower"]), float(row["upper"]))
    elif row["kind"] == token.CLASS:
        predicted = Label(int(row["label"]), tuple(row["probabilities"][: row["count"]].tolist()))
    fields = {
        name: int(row[name]) for name in ("epoch", "boot", "shard", "sequence", "seconds", "slice", "arm", "key_bits")
    }
    return Sealed(bundle=int(row["bundle"]).to_bytes(8, "big"), predicted=predicted, **fields)


def test_the_layout_does_not_move() -> None:
    # Golden text of layout 1, the same as in the C++ tests: tokens live in clients for weeks.
    golden = "AQPerb7vAQIDBP_____vzauJZ0UjAf__________APFTZQEC8v__IgEAAED_vyoPq-Mf1wiT"
    assert seal(example(Label(1, (16384, 49151))), KEY) == golden


def test_what_was_sealed_is_what_is_read_in_one_call_for_all_kinds() -> None:
    texts = [seal(one, KEY) for one in EXAMPLES]
    assert max(map(len, texts)) == token.MAX_CHARS
    table = unseal(texts, [TokenKey(9, bytes(16)), KEY])
    assert table["status"].tolist() == [token.VALID] * len(texts)
    assert [read_back(row) for row in table] == EXAMPLES


def test_no_interval_is_nan() -> None:
    (row,) = unseal([seal(example(Value(2.0)), KEY)], [KEY])
    assert row["value"] == 2.0
    assert np.isnan([row["lower"], row["upper"]]).all()


@pytest.mark.parametrize("sealed", EXAMPLES[1:4])
def test_any_changed_or_missing_character_is_forged(sealed: Sealed) -> None:
    good = seal(sealed, KEY)
    changed = [good[:at] + c + good[at + 1 :] for at in range(len(good)) for c in "AB_!\0\u00e9=+/ \n" if good[at] != c]
    cut = [good[:size] for size in range(len(good))]
    table = unseal([*changed, *cut, good + "A", good + "=", good + "\n", "A" * 1_000_000], [KEY])
    # a changed key id names a key that is gone
    assert set(table["status"].tolist()) <= {token.FORGED, token.EXPIRED}
    foreign = {text for text, row in zip(changed, table, strict=False) if row["status"] == token.EXPIRED}
    assert all(_bytes(text)[1] != KEY.id for text in foreign)
    assert not table["bundle"].any()
    assert np.isnan(table["value"]).all()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_old_keys_read_while_they_are_known_by_their_id() -> None:
    text = seal(example(None), KEY)
    assert unseal([text], [TokenKey(4, bytes(16)), KEY])["status"] == token.VALID
    assert unseal([text], [TokenKey(4, bytes(16))])["status"] == token.EXPIRED
    assert unseal([text], [TokenKey(3, bytes(16))])["status"] == token.FORGED
    assert unseal([], [KEY]).shape == (0,)


def test_good_and_bad_ones_side_by_side() -> None:
    good = [seal(example(Label(number, (number,))), KEY) for number in range(3)]
    table = unseal([good[0], good[1][:-1] + "!", good[2], "", good[0]], [KEY])
    assert table["status"].tolist() == [token.VALID, token.FORGED, token.VALID, token.FORGED, token.VALID]
    assert table["label"].tolist() == [0, 0, 2, 0, 0]


@pytest.mark.parametrize(
    ("p", "u"), [(0.0, 0), (1.0, 65535), (0.5, 32768), (-1.0, 0), (2.0, 65535), (math.nan, 0), (math.inf, 65535)]
)
def test_probabilities_are_clamped_and_rounded(p: float, u: int) -> None:
    assert quantized(p) == u
