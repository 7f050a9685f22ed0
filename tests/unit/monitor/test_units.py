"""Changes of unit and stuck values are claimed after two windows, and never of ordinary moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from kedge_testing import flights

from kedge.kernel.snapshot import Counts
from kedge.monitor.frame import Frame
from kedge.monitor.rules import judge
from kedge.monitor.units import Units
from kedge.monitor.verdict import Span

if TYPE_CHECKING:
    from kedge.bundle.contents import Bundle

Count = Callable[[pa.Table], Counts]


@pytest.fixture
def look(bundle: Bundle, count: Count) -> Callable[..., dict[str, str]]:
    """Show 1,000 rows and answer what is claimed, by name."""
    frame = Frame.of(bundle)
    units = Units(frame)
    seed = iter(range(1000))

    def shown(temp: float = 40.0, change: Callable[[np.ndarray], np.ndarray] = lambda x: x) -> dict[str, str]:
        table = flights.rows(1000, next(seed), temp=temp)
        heat = change(table["temp"].to_numpy().astype(np.float64)).astype(np.float32)
        words = count(table.set_column(0, "temp", pa.array(heat))).words
        units.look(words, judge(frame, words, Span(0, 1, 1000), 0.0).moved)
        return {frame.sides[line].name: text for line, text in units.claims.items()}

    return shown


def celsius(x: np.ndarray) -> np.ndarray:
    return (x - 32) / 1.8


def test_celsius_is_claimed_in_the_second_window_and_until_it_is_over(look: Callable[..., dict[str, str]]) -> None:
    for _ in range(4):
        assert look() == {}
    assert look(change=celsius) == {}, "one window may be chance"
    for _ in range(6):
        claimed = look(change=celsius)
        assert claimed["temp"] == "looks like a change of unit: degrees Fahrenheit sent as degrees Celsius"
    assert look() == {}


def test_ordinary_cold_and_heat_are_no_change_of_unit(look: Callable[..., dict[str, str]]) -> None:
    for temp in (40, 36, 30, 25, 30, 41, 50, 58, 63, 70, 76, 80, 81, 79, 60):
        assert look(temp) == {}


def test_a_change_of_unit_is_seen_though_the_reference_holds_such_values(look: Callable[..., dict[str, str]]) -> None:
    for _ in range(4):
        look(95.0)
    look(95.0, celsius)
    assert "Celsius" in look(95.0, celsius)["temp"], "35 degrees Celsius look like a winter's day in Fahrenheit"


def test_a_stuck_value_is_claimed(look: Callable[..., dict[str, str]]) -> None:
    for _ in range(3):
        look()
    look(change=lambda x: np.full_like(x, 44.0))
    assert look(change=lambda x: np.full_like(x, 44.0))["temp"] == "stuck at 44"


def test_nothing_is_claimed_of_a_stranger(look: Callable[..., dict[str, str]]) -> None:
    look(change=celsius)
    assert look(change=celsius) == {}, "what it usually is, nobody knows yet"
