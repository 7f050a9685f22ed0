from __future__ import annotations

import pytest

from kedge.alerts.model import Cause, Severity, fingerprint, printable, rfc3339


def test_the_key_of_an_alert_is_a_promise_across_versions() -> None:
    # Sinks deduplicate by it: another value for the same problem would open every incident a second time.
    assert fingerprint("flights", "ab" * 32, Cause.INPUT_DRIFT, "feature temp") == "7c2f1dca6fc839c55409d7e0f3bcf07d"


@pytest.mark.parametrize(
    "other",
    [
        ("flight", "s" + "ab" * 32, Cause.INPUT_DRIFT, "feature temp"),
        ("flights", "ac" * 32, Cause.INPUT_DRIFT, "feature temp"),
        ("flights", "ab" * 32, Cause.MISSING, "feature temp"),
        ("flights", "ab" * 32, Cause.INPUT_DRIFT, "feature wind"),
    ],
)
def test_other_problems_have_other_keys(other: tuple[str, str, Cause, str]) -> None:
    assert fingerprint(*other) != fingerprint("flights", "ab" * 32, Cause.INPUT_DRIFT, "feature temp")


def test_a_key_exists_for_names_that_no_encoding_likes() -> None:
    assert len(fingerprint("m", "", Cause.UNSEEN, "feature \udc80 \N{SNOWMAN}")) == 32


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("a\x1b[31mb\nc", 20, "a [31mb c"),
        ("lone \udc80.", 20, "lone  ."),
        ("0123456789", 10, "0123456789"),
        ("0123456789a", 10, "012345678…"),
    ],
)
def test_texts_are_made_printable_and_short(text: str, limit: int, expected: str) -> None:
    assert printable(text, limit) == expected


def test_line_breaks_stay_where_they_are_wanted() -> None:
    assert printable("one\ntwo\r\n", 20, lines=True) == "one\ntwo"


def test_times_are_utc_to_the_millisecond() -> None:
    assert rfc3339(1_000_000.0625) == "1970-01-12T13:46:40.062Z"


def test_severities_are_ordered() -> None:
    assert Severity.INFO.rank < Severity.WARNING.rank < Severity.CRITICAL.rank
