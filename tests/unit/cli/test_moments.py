"""Times and durations as people write them."""

from __future__ import annotations

import pytest

from kedge.cli.moments import duration, lasting, moment, shown
from kedge.errors import ConfigError


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("1.5h", 5400), ("2d", 172800)])
def test_durations(text: str, seconds: float) -> None:
    assert duration("--last", text) == seconds


@pytest.mark.parametrize("text", ["", "10", "h", "-1h", "1w", "1h30m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--last"):
        duration("--last", text)


def test_times() -> None:
    assert moment("--since", "1970-01-01T01:00+01:00") == 0.0
    assert moment("--since", "1372636800") == 1372636800.0
    assert moment("--since", "2013-07-01T00:00:00Z") == 1372636800.0
    assert shown(1372636800.0) == "2013-07-01 00:00:00 UTC"


@pytest.mark.parametrize("text", ["", "July", "2013-13-01"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--since"):
        moment("--since", text)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (61, "1 min 1 s"), (3600, "1 h"), (200000, "2 d 7 h")])
def test_lasting(seconds: float, text: str) -> None:
    assert lasting(seconds) == text
