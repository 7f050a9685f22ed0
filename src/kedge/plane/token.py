"""The prediction id: a sealed record of what was predicted, kept by the client instead of by a store.

Layout 1, little-endian, as base64url without padding (RFC 4648 section 5), at most 96 characters:

    offset  bytes  field
         0      1  layout, 1
         1      1  key id
         2      8  first 8 bytes of the bundle id
        10      4  epoch of the route, its low 32 bits
        14      8  boot: replica and start
        22      2  shard
        24      6  sequence of this boot and shard
        30      4  Unix seconds of the prediction
        34      2  slice id, of `kedge.bundle.slices`; 0 for none
        36      3  bits 0-3 arm, bits 4-23 the low 20 bits of the sticky key's hash; without a key
                   0, or bits that the rows of one request share
        39      1  low 4 bits kind (0 none, 1 value, 2 class), high 4 bits n, the probabilities that follow
        40         kind 1: value, lower, upper as float64, NaN for no interval;
                   kind 2: class as u16, then n probabilities as u16, p = u / 65535
       end      8  SipHash-2-4 of all bytes before it, under the key that the key id names
"""

from __future__ import annotations

import base64
import binascii
import hmac
import math
import struct
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from kedge.plane.siphash import absorb, finish, siphash24_rows, start

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from kedge.plane.contract import TokenKey

MAX_CHARS: Final = 96
"""Longer texts are refused unread."""
MAX_PROBABILITIES: Final = 8
BUNDLE_BYTES: Final = 8
KEY_BITS: Final = 20
NONE, VALUE, CLASS = range(3)
VALID, FORGED, EXPIRED = range(3)
_LAYOUT: Final = 1
_ORIGIN: Final = struct.Struct("<BB8sIQH")
"""What every token of a bundle, arm and start has in common: whole words of the hash."""
_REST: Final = struct.Struct("<IHIHI")
_TAG: Final = struct.Struct("<Q")
_FIXED: Final = _ORIGIN.size + _REST.size
_VALUE: Final = struct.Struct("<3d")

COLUMNS: Final = np.dtype(
    [
        ("bundle", "<u8"), ("boot", "<u8"), ("sequence", "<u8"),
        ("value", "<f8"), ("lower", "<f8"), ("upper", "<f8"),
        ("epoch", "<u4"), ("seconds", "<u4"), ("key_bits", "<u4"),
        ("slice", "<u2"), ("shard", "<u2"), ("label", "<u2"), ("probabilities", "<u2", (MAX_PROBABILITIES,)),
        ("status", "u1"), ("kind", "u1"), ("arm", "u1"), ("count", "u1"),
    ]
)  # fmt: skip
"""What `unseal` gives for a token, packed, in this order.

`bundle` is the number that the first 16 hex digits of the bundle id write. `status` is VALID, FORGED (no token of this
service) or EXPIRED (sealed with a key that is gone). `kind` is NONE, VALUE or CLASS; `count` the probabilities kept, of
the first classes. What does not apply is 0; `value`, `lower` and `upper` are NaN. Nothing but `status` is set where
that is not VALID.
"""


@dataclass(frozen=True, slots=True)
class Value:
    """A predicted value and its interval; NaN and NaN for none."""

    value: float
    lower: float = math.nan
    upper: float = math.nan


@dataclass(frozen=True, slots=True)
class Label:
    """A predicted class.

    Attributes:
        label: its index, in [0, 65535].
        probabilities: of the first classes, at most 8 are kept, each as `quantized`.
    """

    label: int
    probabilities: tuple[int, ...] = ()


Predicted = Value | Label | None


@dataclass(frozen=True, slots=True)
class Sealed:
    """One prediction.

    Attributes:
        bundle: first 8 bytes of the bundle id.
        epoch: of the route; its low 32 bits are kept.
        boot: replica and start, 64 bits.
        shard: 16 bits; with boot and sequence it makes the token unique.
        sequence: number of the prediction; its low 48 bits are kept.
        seconds: since 1970, 32 bits.
        slice: id of its slices, 16 bits; see `kedge.bundle.slices`.
        arm: `kedge.plane.contract.Arm`, below 16.
        key_bits: low 20 bits of the sticky key's hash, 0 without a key.
        predicted: what.
    """

    bundle: bytes
    epoch: int
    boot: int
    shard: int
    sequence: int
    seconds: int
    slice: int = 0
    arm: int = 0
    key_bits: int = 0
    predicted: Predicted = None


class Sealer:
    """Seals the predictions of one bundle, epoch and start; what they share is packed and hashed once.

    Args:
        key: seals.
        bundle, epoch, boot, shard: as in `Sealed`.
    """

    def __init__(self, key: TokenKey, bundle: bytes, epoch: int, boot: int, shard: int = 0) -> None:
        self._shared = _ORIGIN.pack(_LAYOUT, key.id, bundle, epoch & 0xFFFFFFFF, boot, shard)
        self._state = absorb(start(key.secret), self._shared)

    def seal(self, sequence: int, seconds: int, *, slice_id: int, arm: int, key_bits: int, predicted: Predicted) -> str:
        """The token; arguments as in `Sealed`."""
        if type(predicted) is Label:
            kept = predicted.probabilities[:MAX_PROBABILITIES]
            kind = CLASS | len(kept) << 4
            body = struct.pack(f"<{1 + len(kept)}H", predicted.label, *kept)
        elif type(predicted) is Value:
            kind, body = VALUE, _VALUE.pack(predicted.value, predicted.lower, predicted.upper)
        else:
            kind, body = NONE, b""
        low, high = sequence & 0xFFFFFFFF, sequence >> 32 & 0xFFFF
        who = arm & 0xF | (key_bits & 0xFFFFF) << 4
        rest = _REST.pack(low, high, seconds & 0xFFFFFFFF, slice_id, who | kind << 24) + body
        tag = _TAG.pack(finish(self._state, rest, _ORIGIN.size))
        return base64.urlsafe_b64encode(self._shared + rest + tag).rstrip(b"=").decode()


def seal(sealed: Sealed, key: TokenKey) -> str:
    """The token of one prediction."""
    return Sealer(key, sealed.bundle, sealed.epoch, sealed.boot, sealed.shard).seal(
        sealed.sequence,
        sealed.seconds,
        slice_id=sealed.slice,
        arm=sealed.arm,
        key_bits=sealed.key_bits,
        predicted=sealed.predicted,
    )


def quantized(probability: float) -> int:
    """A probability as tokens keep it; NaN and values outside [0, 1] are clamped, halves round up."""
    if not probability > 0.0:
        return 0
    scaled = min(probability, 1.0) * 65535
    whole = int(scaled)
    return whole + (scaled - whole >= 0.5)


def unseal(texts: Sequence[str], keys: Sequence[TokenKey]) -> NDArray[np.void]:
    """What tokens hold, [N] of `COLUMNS`. Tags are compared in constant time.

    Args:
        texts: tokens as clients return them; any text.
        keys: every key that is still known, each id once.
    """
    table = np.zeros(len(texts), dtype=COLUMNS)
    table["status"] = FORGED
    for name in ("value", "lower", "upper"):
        table[name] = math.nan
    secrets = {key.id: key.secret for key in keys}
    alike: defaultdict[tuple[int, int], list[tuple[int, bytes]]] = defaultdict(list)
    for row, text in enumerate(texts):
        data = _decoded(text)
        if data is None:
            continue
        if data[1] in secrets:
            alike[data[1], data[_FIXED - 1]].append((row, data))
        else:
            table["status"][row] = EXPIRED
    for (key, kind), members in alike.items():
        body = _body_size(kind) or 0
        matrix = np.frombuffer(b"".join(found for _, found in members), dtype=np.uint8).reshape(len(members), -1)
        tags = siphash24_rows(secrets[key], matrix[:, :body]).astype("<u8").tobytes()
        good = [hmac.compare_digest(tags[8 * at : 8 * at + 8], found[body:]) for at, (_, found) in enumerate(members)]
        rows = np.array([row for row, _ in members])[good]
        table[rows] = _read(matrix[good], kind, table[rows])
    return table


def _decoded(text: str) -> bytes | None:
    """The bytes of a text that has a token's form; None for every other one."""
    if len(text) > MAX_CHARS or not text.isascii() or "=" in text:
        return None
    padded = text.encode() + b"=" * (-len(text) % 4)
    try:
        data = binascii.a2b_base64(padded.translate(_STANDARD), strict_mode=True)
    except binascii.Error:
        return None
    if len(data) < _FIXED + _TAG.size or data[0] != _LAYOUT:
        return None
    body = _body_size(data[_FIXED - 1])
    if body is None or len(data) != body + _TAG.size:
        return None
    # only the one text that `seal` writes for these bytes: unused bits must be zero
    return data if base64.urlsafe_b64encode(data) == padded else None


_STANDARD: Final = bytes.maketrans(b"-_+/", b"+/!!")


def _body_size(kind: int) -> int | None:
    """Bytes before the tag, given the kind byte; None for a kind there is not."""
    count = kind >> 4
    match kind & 0xF:
        case 0 if not count:
            return _FIXED
        case 1 if not count:
            return _FIXED + _VALUE.size
        case 2 if count <= MAX_PROBABILITIES:
            return _FIXED + 2 + 2 * count
        case _:
            return None


def _read(data: NDArray[np.uint8], kind: int, into: NDArray[np.void]) -> NDArray[np.void]:
    """Fill columns from the bytes of tokens of one kind, [N, bytes]."""

    def field(at: int, size: int, dtype: str) -> NDArray[np.generic]:
        values = np.ascontiguousarray(data[:, at : at + size])
        return values.view(dtype)

    def number(at: int, size: int) -> NDArray[np.uint64]:
        wide = np.zeros((len(data), 8), dtype=np.uint8)
        wide[:, :size] = data[:, at : at + size]
        return wide.view("<u8")[:, 0].astype(np.uint64)

    into["status"] = VALID
    into["bundle"] = field(2, 8, ">u8")[:, 0]
    for name, at, size in (
        ("epoch", 10, 4), ("boot", 14, 8), ("shard", 22, 2), ("sequence", 24, 6), ("seconds", 30, 4), ("slice", 34, 2)
    ):  # fmt: skip
        into[name] = number(at, size)
    who = number(36, 3)
    into["arm"] = who & np.uint64(0xF)
    into["key_bits"] = who >> np.uint64(4)
    into["kind"], into["count"] = kind & 0xF, kind >> 4
    if kind & 0xF == VALUE:
        for index, name in enumerate(("value", "lower", "upper")):
            into[name] = field(_FIXED + 8 * index, 8, "<f8")[:, 0]
    elif kind & 0xF == CLASS:
        into["label"] = number(_FIXED, 2)
        count = kind >> 4
        if count:
            into["probabilities"][:, :count] = field(_FIXED + 2, 2 * count, "<u2")
    return into
