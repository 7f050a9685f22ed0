"""Canonical JSON out, strict JSON in."""

from __future__ import annotations

import pytest

from kedge.bundle import canonical, limits
from kedge.errors import BundleError


def test_encoding_is_that_of_rfc_8785() -> None:
    value = {"b": [1e21, 0.1, 1.0, -0.0, 1e-7], "\u20ac": '\x0f\n"\\', "a": None}
    assert canonical.encode(value) == b'{"a":null,"b":[1e+21,0.1,1,0,1e-7],"\xe2\x82\xac":"\\u000f\\n\\"\\\\"}'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, "\ud800"])
def test_what_json_cannot_say_is_not_written(value: object) -> None:
    with pytest.raises(BundleError, match="cannot be written"):
        canonical.encode({"x": value})


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"a":1,"a":2}', "appears twice"),
        (b'{"a":{"b":1,"\\u0062":2}}', "appears twice"),
        (b"NaN", "NaN is not JSON"),
        (b"[-Infinity]", "-Infinity is not JSON"),
        (b"1e999", "out of range"),
        (b"9007199254740993", "beyond"),
        (b"-9007199254740993", "beyond"),
        (b"1000000000000000000000", "beyond"),
        (b"1" * 5000, "beyond"),
        (b"0." + b"1" * 5000, "out of range"),
        (b'"\\ud800"', "lone surrogate"),
        (b'{"\\uDC00":1}', "lone surrogate"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
        (b"\xff", "not UTF-8"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b"", "not JSON"),
        (b"{} {}", "not JSON"),
        (b"{'a':1}", "not JSON"),
        (b"[1,]", "not JSON"),
        (b'"\n"', "not JSON"),
    ],
)
def test_ambiguous_json_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(BundleError, match=reason) as caught:
        canonical.decode(data, "file.json")
    assert str(caught.value).startswith("file.json: ")


def test_depth_is_bounded_whatever_stands_in_strings() -> None:
    deep = limits.JSON_DEPTH
    brackets = b'"[[[[{{{{\\"[[[["'
    assert canonical.decode(b"[" * deep + brackets + b"]" * deep, "f")
    for data in (b"[" * (deep + 1) + b"]" * (deep + 1), b'{"":' * (deep + 1) + b"1" + b"}" * (deep + 1), b"[" * 10**6):
        with pytest.raises(BundleError, match=f"nested deeper than {deep}"):
            canonical.decode(data, "f")


def test_the_depth_check_takes_linear_time_on_unfinished_strings() -> None:
    for data in (b'"' + b'\\"' * 10**6, b'"' * (10**6 + 1), b'"' + b"\\" * (10**6 + 1)):
        with pytest.raises(BundleError, match="not JSON"):
            canonical.decode(data, "f")


def test_size_is_bounded_before_parsing() -> None:
    with pytest.raises(BundleError, match="limit 4"):
        canonical.decode(b"[1,2]", "f", limit=4)


@pytest.mark.parametrize("data", [b'{"b":1,"a":2}', b"[1.0]", b"[1e2]", b"[-0]", b'["\\u0041"]', b"[1 ]"])
def test_only_canonical_bytes_are_canonical(data: bytes) -> None:
    canonical.decode(data, "f")
    with pytest.raises(BundleError, match="not in canonical form"):
        canonical.decode_canonical(data, "f")


@pytest.mark.parametrize("value", [2.0**53, -(2.0**60), 1.7e18, 1e20])
def test_doubles_that_are_written_without_a_point_come_back(value: float) -> None:
    data = canonical.encode([value])
    assert b"e" not in data
    assert canonical.decode_canonical(data, "f") == [value]


def test_surrogate_pairs_are_characters() -> None:
    assert canonical.decode(b'"\\ud83d\\ude00"', "f") == "\U0001f600"
