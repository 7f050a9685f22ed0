"""The block of evidence: where each count stands, and that blocks add up."""

from __future__ import annotations

import numpy as np
import pytest

from kedge.errors import SnapshotError
from kedge.plane import evidence as ev
from kedge.plane.evidence import KINDS, WORDS, Evidence


def numbered() -> Evidence:
    """Every word holds its own place."""
    return Evidence(np.arange(WORDS, dtype=np.int64))


def test_every_word_has_one_meaning() -> None:
    found = numbered()
    named = [
        found.units,
        *(found.first_events(kind) for kind in KINDS),
        *(found.request_events(kind) for kind in KINDS),
        *found.first_scores.tolist(),
        found.offered,
        found.dropped,
        found.failed,
        found.compared,
        found.disagreed,
        found.live_ns,
        found.shadow_ns,
        *found.agreement.ravel().tolist(),
        *found.differences.tolist(),
        found.judged,
    ]
    assert named == list(range(WORDS))
    assert WORDS == 196
    assert found.agreement.shape == (ev.AGREEMENT_CLASSES, ev.AGREEMENT_CLASSES)


def test_blocks_add_and_subtract_word_by_word() -> None:
    one, two = numbered(), Evidence(np.full(WORDS, 7, dtype=np.int64))
    total = one + two
    assert total.units == 7
    assert total.offered == one.offered + 7
    assert total - two == one
    assert one + Evidence.empty() == one
    assert one != two


def test_bytes_read_back_and_no_bytes_are_nothing() -> None:
    found = numbered()
    assert Evidence.parse(found.to_bytes()) == found
    assert found.to_bytes()[:16] == bytes(8) + b"\x01" + bytes(7)
    assert Evidence.parse(b"") == Evidence.empty()


def test_another_number_of_words_is_refused() -> None:
    with pytest.raises(SnapshotError, match="1560 bytes, expected 1568"):
        Evidence.parse(bytes(8 * (WORDS - 1)))


def test_what_was_parsed_may_be_added_to() -> None:
    found = Evidence.parse(numbered().to_bytes())
    found.words[ev.UNITS] += 1
    assert found.units == 1
