"""JSON as bundles hold it: written in RFC 8785 canonical form, read strictly.

Two parsers that disagree about a file (which of two equal keys counts, what NaN is, how a large integer rounds) are
two opinions about what was signed. So everything they could disagree about is refused.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Never

import rfc8785
from pydantic import BaseModel

from kedge.bundle import limits
from kedge.errors import BundleError

_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def encode(value: BaseModel | object) -> bytes:
    """RFC 8785 bytes of a pydantic model or of plain JSON values.

    Raises:
        BundleError: a value has no JSON form: NaN, infinity, an integer past 2**53 - 1, a lone surrogate.
    """
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    try:
        return rfc8785.dumps(plain)  # type: ignore[arg-type]  # what it cannot take it says
    except rfc8785.CanonicalizationError as error:
        raise BundleError(f"cannot be written as canonical JSON: {error}") from error


def decode(data: bytes, what: str, *, limit: int = limits.JSON_BYTES) -> Any:
    """Parse JSON strictly: UTF-8, no duplicate key, no NaN or infinity, bounded depth, size and numbers.

    Args:
        data: the bytes of the file.
        what: the file's name, for the message.
        limit: bytes allowed.

    Raises:
        BundleError: naming `what` and the reason.
    """
    if len(data) > limit:
        raise BundleError(f"{what}: {len(data)} bytes of JSON, limit {limit}")
    _check_depth(data, what)
    try:
        text = data.decode("utf-8")
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_int=_integer,
            parse_float=_real,
        )
        if _SURROGATE.search(text):  # only escapes can smuggle in a lone surrogate; UTF-8 itself has none
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError as error:
        raise BundleError(f"{what}: not UTF-8 at byte {error.start}") from error
    except UnicodeEncodeError as error:
        raise BundleError(f"{what}: a string holds a lone surrogate") from error
    except json.JSONDecodeError as error:
        raise BundleError(f"{what}: not JSON at byte {error.pos}: {error.msg}") from error
    except ValueError as error:
        raise BundleError(f"{what}: {error}") from error
    return value


def decode_canonical(data: bytes, what: str, *, limit: int = limits.JSON_BYTES) -> Any:
    """As `decode`, and the bytes must be the canonical form of what they say.

    Raises:
        BundleError: naming `what` and the reason.
    """
    value = decode(data, what, limit=limit)
    if encode(value) != data:
        raise BundleError(f"{what}: not in canonical form (RFC 8785)")
    return value


def _check_depth(data: bytes, what: str) -> None:
    depth = 0
    for token in _TOKEN.finditer(data):
        first = token[0][:1]
        if first in b"[{":
            depth += 1
            if depth > limits.JSON_DEPTH:
                raise BundleError(f"{what}: JSON nested deeper than {limits.JSON_DEPTH}")
        elif first in b"]}":
            depth -= 1


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"key {key[:64]!r} appears twice in one object")
            seen.add(key)
    return result


def _refuse_constant(text: str) -> Never:
    raise ValueError(f"{text} is not JSON")


def _integer(text: str) -> int | float:
    if len(text) <= limits.JSON_NUMBER_CHARS:
        if abs(value := int(text)) <= limits.JSON_INTEGER:
            return value
        real = _real(text)
        if rfc8785.dumps(real) == text.encode():
            return real  # RFC 8785 writes doubles up to 1e21 without a point: this is a double, not an integer
    raise ValueError(f"integer {text[:24]} is beyond 2**53 - 1")


def _real(text: str) -> float:
    if len(text) > limits.JSON_NUMBER_CHARS or not math.isfinite(value := float(text)):
        raise ValueError(f"number {text[:24]} is out of range")
    return value
