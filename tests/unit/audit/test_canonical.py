"""RFC 8785: the examples of the RFC, and records that can be spelled in one way only."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from kedge.audit import canonical
from kedge.audit.errors import RecordError

NUMBERS = {  # RFC 8785 appendix B: IEEE 754 bits, text
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "ffefffffffffffff": "-1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555555": "333333333.3333333",
    "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}


@pytest.mark.parametrize(("bits", "text"), NUMBERS.items())
def test_numbers_of_appendix_b(bits: str, text: str) -> None:
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical.encode([value]) == f"[{text}]".encode()


def test_the_example_of_section_3_2() -> None:
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/",
        "literals": [None, True, False],
    }
    assert canonical.encode(value) == (
        b'{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        b'"string":"\xe2\x82\xac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


def test_keys_are_sorted_by_utf_16_code_units() -> None:
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    data = canonical.encode(dict.fromkeys(keys, 0))
    assert list(canonical.decode_record(data, "x")) == ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"b": [1, -2, True, None], "a": {"z": "\u20ac\x7f\x1f\u2028", "y": 2**53 - 1}},
        {"\U0001f600": 1, "\ufb33": 2},
    ],
)
def test_the_quick_encoder_agrees_with_the_other(value: dict[str, Any]) -> None:
    assert canonical.encode_record(value) == canonical.encode(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, "\ud800", {1: 2}, object()])
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(RecordError):
        canonical.encode({"x": value} if not isinstance(value, dict) else value)


@pytest.mark.parametrize(
    "data",
    [
        b'{"a": 1}', b'{"a":1}\n', b'{"b":1,"a":2}', b'{"a":1,"a":1}', b'{"a":1.5}', b'{"a":1.0}', b'{"a":1e3}',
        b'{"a":NaN}', b'{"a":9007199254740992}', b'{"a":-0}', b'{"a":"\\u0041"}', b'{"a":"\\/"}', b'{"a":"\\ud800"}',
        b'{"a":"\xff"}', b'\xef\xbb\xbf{"a":1}', b"[1]", b"1", b"", b"{", b'{"a":"\n"}', b"[" * 100_000,
        b'{"a":' + b"9" * 10_000 + b"}", '{"a":1}'.encode("utf-16"),
    ],
    ids=repr,
)  # fmt: skip
def test_another_spelling_is_no_record(data: bytes) -> None:
    with pytest.raises(RecordError, match=r"^record 7: not "):
        canonical.decode_record(data, "record 7")


def test_what_others_sign_may_be_spelled_freely_but_not_twice() -> None:
    assert canonical.decode(b'{ "a": 1.50 }', "x") == {"a": 1.5}
    for data in (b'{"a":1,"a":1}', b'{"a":NaN}', b"[]", b"\xff", b"[" * 100_000):
        with pytest.raises(RecordError):
            canonical.decode(data, "x")
