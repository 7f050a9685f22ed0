"""Units on the portable plane: each is the first once a counter and period, within the bounds of a bitmap."""

from __future__ import annotations

import numpy as np
import pytest

from kedge.errors import Code
from kedge.plane.contract import Arm, ArmRoute, Handle, Route
from kedge.plane.evidence import FILTER_BITS, KINDS, WORDS, Evidence
from kedge.plane.portable.route import keyed
from kedge.plane.portable.units import Keyed, Trial, UnitFilter
from kedge.plane.siphash import siphash24


def test_a_unit_is_first_once_for_each_counter() -> None:
    units = UnitFilter()
    one, other = Keyed(5, 12345), Keyed(5, 12346)
    units.enter(5)
    assert [units.is_first(one, counter) for counter in (0, 1, 0, 1)] == [True, True, False, False]
    assert units.is_first(other, 0)
    assert all(units.is_first(None, 0) for _ in range(3))


def test_places_are_told_apart_by_their_low_bits() -> None:
    units = UnitFilter()
    units.enter(0)
    assert units.is_first(Keyed(0, FILTER_BITS - 1), 0)
    assert not units.is_first(Keyed(0, 7 * FILTER_BITS + FILTER_BITS - 1), 0)
    assert units.is_first(Keyed(0, FILTER_BITS), 0)


def test_a_new_period_forgets_and_an_old_one_counts_no_more() -> None:
    units = UnitFilter()
    units.enter(8)
    assert units.is_first(Keyed(8, 1), 0)
    units.enter(9)
    assert units.is_first(Keyed(9, 1), 0)
    assert not units.is_first(Keyed(9, 1), 0)
    units.enter(8)  # read its clock just before the boundary
    assert not units.is_first(Keyed(8, 2), 0)
    assert not units.is_first(Keyed(8, 2), 1 + KINDS.index("errors"))
    assert not units.is_first(Keyed(9, 1), 0)
    units.enter(3)  # a clock that was set back
    assert units.is_first(Keyed(3, 1), 0)
    assert not units.is_first(Keyed(9, 2), 0), "answered late"


def test_few_of_ten_thousand_keys_share_a_bit() -> None:
    units = UnitFilter()
    units.enter(0)
    route = Route("m", 1, (ArmRoute(Handle("a" * 64, "m", "1", 1), Arm.LIVE, 1.0),), salt=bytes(range(16)))
    firsts = sum(units.is_first(keyed(route, f"user-{number}", 0.0), 0) for number in range(10_000))
    # 10,000 balls in 2**20 bins: 47.5 collide on average, 7 is a standard deviation
    assert 10_000 - 85 < firsts < 10_000 - 12


def test_a_key_stands_where_the_contract_says() -> None:
    arms = (ArmRoute(Handle("a" * 64, "m", "1", 1), Arm.LIVE, 1.0),)
    route = Route("m", 1, arms, salt=bytes(range(16)), sticky_for=60)
    expected = siphash24(bytes(range(16)), (2).to_bytes(8, "little") + "j\u00f6rg".encode())
    assert keyed(route, "j\u00f6rg", 179.9) == Keyed(2, expected)
    unsalted = Route("m", 1, arms, sticky_for=60)
    assert keyed(unsalted, "k", 0.0).place == siphash24(bytes(16), bytes(8) + b"k")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (Code.RESOURCE_EXHAUSTED, "errors"),
        (Code.INTERNAL, "errors"),
        (Code.UNAVAILABLE, "errors"),
        (Code.DEADLINE_EXCEEDED, "timeouts"),
        (Code.INVALID_ARGUMENT, "refusals"),
        (Code.NOT_FOUND, None),
        (Code.CANCELLED, "nothing"),
        (Code.UNAUTHENTICATED, "nothing"),
    ],
)
def test_what_a_status_is_an_event_of(code: Code, kind: str | None) -> None:
    words = np.zeros(WORDS, dtype=np.int64)
    Trial(UnitFilter(), ()).count_failure(words, None, code.value)
    found = Evidence(words)
    assert found.units == (kind != "nothing")
    assert [name for name in KINDS if found.first_events(name)] == ([kind] if kind in KINDS else [])
    assert [name for name in KINDS if found.request_events(name)] == ([kind] if kind in KINDS else [])


def test_slow_is_over_the_bound_of_the_size_of_the_batch() -> None:
    bounds = [0] * 12
    bounds[0], bounds[2] = 1000, 5000
    trial = Trial(UnitFilter(), tuple(bounds))
    asked = [(1000, 1), (1001, 1), (10**9, 2), (5000, 3), (5001, 4), (10**9, 5), (10**9, 0)]
    assert [0 < trial.line(rows) < took for took, rows in asked] == [False, True, False, False, True, False, False]
    assert [trial.line(rows) for _, rows in asked] == [1000, 1000, 0, 5000, 5000, 0, 0]
    assert Trial(UnitFilter(), ()).line(1) == 0


def test_only_first_requests_are_judged_and_only_where_they_can_be() -> None:
    trial, words = Trial(UnitFilter(), ()), np.zeros(WORDS, dtype=np.int64)
    trial.units.enter(1)
    for judged in (True, False):
        trial.count(words, Keyed(1, 5), judged=judged)  # the second is of the same unit
        trial.count(words, None, judged=judged)
    trial.count_failure(words, None, Code.INTERNAL.value)
    assert (Evidence(words).units, Evidence(words).ran, Evidence(words).judged) == (4, 3, 2)
