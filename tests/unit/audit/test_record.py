"""Records: their form, their identity, and what they refuse to say."""

from __future__ import annotations

import json
import uuid
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from kedge.audit.clock import Moment, uuid7
from kedge.audit.errors import RecordError
from kedge.audit.record import Actor, Draft, Pseudonyms, Record, compose, decimal, place

MOMENT = Moment(1_645_557_742_000_123_456, "test")


def test_uuid_of_the_rfcs_example() -> None:
    random = (0xCC3 << 64 | 0x18C4DC0C0C07398F).to_bytes(10, "big")
    assert uuid7(MOMENT, random) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"
    assert uuid.UUID(uuid7(MOMENT, b"\xff" * 10)).version == 7


def test_a_record_is_canonical_json_and_reads_back(draft: Draft) -> None:
    record = place(draft, 17, MOMENT, bytes(10), "kedge 0.1.0")
    data = record.to_bytes()
    assert Record.parse(data) == record
    value = json.loads(data)
    assert value["time"] == {"at": "2022-02-22T19:22:22.000123Z", "clock": "test"}
    assert (value["sequence"], value["format"], value["verdict"]["e_value"]) == (17, "kedge.audit/1", "21.5")
    assert list(value) == sorted(value)
    assert "policy" not in value


@pytest.mark.parametrize(
    "change",
    [
        {"action": "promoted"}, {"action": "Rollout.Promoted"}, {"bundle": "AB" * 32}, {"bundle": "ab"},
        {"rationale": "red \x1b[31m"}, {"rationale": "x" * 5000}, {"model": ""}, {"epoch": -1}, {"epoch": 1.0},
        {"details": {"share": 0.5}}, {"details": {"deep": [{"x": 0.5}]}}, {"details": {1: 2}}, {"details": {"x": b"y"}},
        {"details": {"x": 2**53}}, {"epoch": 2**53},
        {"verdict": {"test": "t", "decision": "d", "e_value": 1.5}}, {"request": "body"}, {"snapshots": ["x"]},
    ],
    ids=str,
)  # fmt: skip
def test_what_a_record_cannot_say(draft: Draft, change: dict[str, Any]) -> None:
    value = draft.model_dump(mode="json", exclude_none=True) | change
    with pytest.raises(ValidationError):
        Draft.model_validate(value)


def test_what_a_user_said_is_refused_in_one_line() -> None:
    alice = Actor(name="alice", authenticated_by="token")
    assert compose(action="rollout.aborted", actor=alice, rationale="it smelled").rationale == "it smelled"
    with pytest.raises(RecordError, match=r"^rationale: "):
        compose(action="rollout.aborted", actor=alice, rationale="two\nlines")


def test_a_record_has_a_limit(draft: Draft) -> None:
    long = draft.model_copy(update={"details": {"x": "y" * 70_000}})
    with pytest.raises(RecordError, match="keep digests"):
        place(long, 0, MOMENT, bytes(10), "kedge").to_bytes()


def test_a_damaged_record_is_refused_in_one_line(draft: Draft) -> None:
    data = place(draft, 0, MOMENT, bytes(10), "kedge").to_bytes()
    for bad in (data.replace(b'"epoch":7', b'"epoch":"7"'), data.replace(b'"epoch":7,', b""), data[:-1], b"{}"):
        if bad == data.replace(b'"epoch":7,', b""):
            assert Record.parse(bad).epoch is None
            continue
        with pytest.raises(RecordError, match=r"^record 3: ") as refused:
            Record.parse(bad, "record 3")
        assert "\n" not in str(refused.value)


def test_decimals_are_strings() -> None:
    assert [decimal(x) for x in (0.1, 21.5, 1e300, Decimal("1.50"), 3)] == ["0.1", "21.5", "1e+300", "1.50", "3.0"]
    for bad in (float("nan"), float("inf")):
        with pytest.raises(RecordError):
            decimal(bad)


def test_pseudonyms_hide_names_and_stay_the_same() -> None:
    alice = Actor(name="alice@example.com", authenticated_by="token")
    pseudonyms = Pseudonyms(b"s" * 32, {"bob": "operator-2"})
    hidden = pseudonyms.of(alice)
    assert hidden == pseudonyms.of(alice)
    assert hidden.name.startswith("actor-")
    assert "alice" not in hidden.name
    assert hidden.authenticated_by == "token"
    assert pseudonyms.of(Actor(name="bob", authenticated_by="token")).name == "operator-2"
    assert Pseudonyms(b"t" * 32).of(alice) != hidden
    with pytest.raises(RecordError):
        Pseudonyms(b"short")
