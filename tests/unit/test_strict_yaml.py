"""YAML for Kedge ends in values or in one line that says what is wrong, soon and without surprises."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kedge import strict_yaml
from kedge.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20


@pytest.mark.parametrize(
    "number",
    ["1" + ":1" * 50_000, "1" + ":1" * 20_000 + ".5", "0x" + "f" * 50_000, "0b" + "1" * 50_000, "9" * 4000],
    ids=["sexagesimal", "sexagesimal fraction", "hexadecimal", "binary", "decimal"],
)
def test_a_number_that_takes_minutes_to_read_or_cannot_be_shown_is_refused(tmp_path: Path, number: str) -> None:
    path = tmp_path / "kedge.yaml"
    path.write_text(f"a: b\nc: {number}\n")
    with pytest.raises(ConfigError, match=r"not valid YAML at line 2, column 4: a number of \d+ characters"):
        strict_yaml.read(path, "settings", MIB + 1024, ConfigError)


def test_numbers_of_a_length_that_people_write_are_read(tmp_path: Path) -> None:
    path = tmp_path / "kedge.yaml"
    path.write_text("{a: 1_000, b: 0x1f, c: 1.5e-3, d: -.inf, e: 123456789012345678901234567890}\n")
    read = strict_yaml.read(path, "settings", MIB, ConfigError)
    assert read == {"a": 1000, "b": 31, "c": 0.0015, "d": float("-inf"), "e": 123456789012345678901234567890}
