"""Control charts keep their budget, find slow shifts, forget no week, and survive a restart."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import numpy as np
import pytest

from kedge.monitor.chart_store import ChartStore, ChartStoreError
from kedge.monitor.charts import WARM_UP, Charts, limit
from kedge.monitor.panes import Key
from kedge.stats import cusum_arl

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

KEY = Key("a" * 64, "live")


def hours(charts: Charts, start: int, values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Alarms by hour."""
    alarms = []
    for i, row in enumerate(values):
        charts.step(start + i, row)
        alarms.append(charts.alarm.copy())
    return np.array(alarms)


def seasonal(random: np.random.Generator, count: int, charts: int, phi: float = 0.0) -> NDArray[np.float64]:
    """Hourly values with a day's course and neighbouring hours correlated by phi."""
    noise = random.normal(size=(count, charts))
    for i in range(1, count):
        noise[i] = phi * noise[i - 1] + np.sqrt(1 - phi**2) * noise[i]
    return noise + 3 * np.sin(2 * np.pi * np.arange(count) / 24)[:, None]


def test_the_limit_spends_the_budget_over_all_charts() -> None:
    h = limit(20, 0.5)
    assert cusum_arl(0.5, h) == pytest.approx(20 * 24 / 0.5, rel=1e-6)
    assert limit(200, 0.5) > h > limit(20, 5.0)


@pytest.mark.parametrize("phi", [0.0, 0.5])
def test_seasonal_values_alarm_within_the_budget(phi: float) -> None:
    charts = Charts([str(i) for i in range(100)], alarms_a_day=1.0)
    alarms = hours(charts, 1000, seasonal(np.random.default_rng(3), WARM_UP + 40 * 24, 100, phi))
    assert not alarms[:WARM_UP].any(), "a chart that warms up says nothing"
    begun = int((alarms[1:] & ~alarms[:-1]).sum())
    assert begun <= 60, "40 days at one a day; the 99.9 % quantile of Poisson(40) is 60"


def test_a_slow_shift_is_found_and_does_not_hide_itself() -> None:
    random = np.random.default_rng(5)
    charts = Charts(["still", "shifted"], alarms_a_day=0.05)
    values = seasonal(random, WARM_UP + 15 * 24, 2)
    values[WARM_UP + 24 :, 1] += 1.5
    alarms = hours(charts, 0, values)
    found = np.flatnonzero(alarms[:, 1])
    assert found[0] < WARM_UP + 24 + 48, "within two days"
    assert alarms[-1].tolist() == [False, True], "after two weeks the shift is still no normal"
    back = hours(charts, len(values), seasonal(random, 4 * 24, 2))
    assert not back[-1].any(), "and ends days after it is over"


def test_hours_without_traffic_and_constant_values_are_harmless() -> None:
    charts = Charts(["constant", "empty", "some"], alarms_a_day=0.1)
    values = np.full((WARM_UP * 3, 3), np.nan)
    values[:, 0] = 1.0
    values[::3, 2] = np.random.default_rng(1).normal(size=WARM_UP)
    assert not hours(charts, 7, values).any()
    assert charts.ready.tolist() == [True, False, True]


def test_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    values = seasonal(np.random.default_rng(2), WARM_UP + 100, 5)
    values[WARM_UP + 40 :, 2] += 2.0
    whole = Charts("abcde", 0.1)
    expected = hours(whole, 0, values)
    for cut in (30, WARM_UP - 1, WARM_UP, WARM_UP + 60):
        first = Charts("abcde", 0.1)
        hours(first, 0, values[:cut])
        store = ChartStore(tmp_path / f"{cut}.db")
        store.save(KEY, cut - 1, first.to_bytes())
        store.close()
        again = ChartStore(tmp_path / f"{cut}.db")
        known = again.load(KEY)
        assert known is not None
        assert known[0] == cut - 1
        second = Charts("abcde", 0.1)
        assert second.restored(known[1])
        np.testing.assert_array_equal(hours(second, cut, values[cut:]), expected[cut:])
        np.testing.assert_array_equal(second.up, whole.up)
        again.close()


def test_state_of_other_charts_or_no_state_at_all_is_refused() -> None:
    charts = Charts("ab", 0.1)
    assert not charts.restored(Charts("abc", 0.1).to_bytes())
    assert not charts.restored(Charts("ba", 0.1).to_bytes())
    assert not charts.restored(b"")
    assert not charts.restored(charts.to_bytes()[:-40])
    assert charts.restored(charts.to_bytes())


def test_the_table_stands_beside_others_and_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "kedge.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE live (model TEXT)")
        other.execute("PRAGMA user_version = 7")
    other.close()
    store = ChartStore(path)
    assert store.load(KEY) is None
    store.save(KEY, 1, b"one")
    store.save(KEY, 2, b"two")
    assert store.load(KEY) == (2, b"two")
    store.close()
    with sqlite3.connect(path) as other:
        assert other.execute("PRAGMA user_version").fetchone() == (7,)
    other.close()
    with pytest.raises(ChartStoreError, match=r"cannot read control charts from .*kedge\.db"):
        store.load(KEY)
    (tmp_path / "bad.db").write_bytes(b"no database" * 500)
    with pytest.raises(ChartStoreError, match=r"cannot use .*bad\.db"):
        ChartStore(tmp_path / "bad.db")
