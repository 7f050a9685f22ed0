"""The one tree of errors: what reaches logs, callers and terminals is one printable line of bounded length."""

from __future__ import annotations

import pytest

from kedge.errors import MESSAGE_CHARS, BundleError, Code, KedgeError, RequestError


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("no model 'flights'", "no model 'flights'"),
        ("no model 'é漢'", "no model 'é漢'"),
        ("no model 'a\nb\tc\u2028d'", "no model 'a b c d'"),
        ("no model '\x1b[2Ja\x00'", "no model '?[2Ja?'"),
        ("no model 'a\u202eb\ud800'", "no model 'a?b?'"),
    ],
)
def test_a_message_is_one_printable_line(given: str, said: str) -> None:
    for error in (KedgeError(given), BundleError(given), RequestError(Code.NOT_FOUND, given)):
        assert str(error) == said


def test_a_message_is_cut_where_a_stranger_could_make_it_long() -> None:
    text = str(KedgeError("x" * 10 * MESSAGE_CHARS))
    assert (len(text), text[-4:]) == (MESSAGE_CHARS, "x...")
