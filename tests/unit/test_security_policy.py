"""SECURITY.md keeps its word: each threat names the tests that cover it, and they exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
THREATS = "who tries what"
NAMED = re.compile(r"`([\w/]+\.(?:py|cpp))::([^`]+)`")


def threats() -> list[tuple[str, str]]:
    """First and last column of every line of the tables of threats."""
    found = []
    inside = False
    for line in (ROOT / "SECURITY.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            inside = False
        elif cells[0] == THREATS:
            inside = True
        elif inside and set(cells[0]) != {"-"}:
            found.append((cells[0], cells[-1]))
    return found


def test_there_is_a_table_for_every_surface() -> None:
    text = (ROOT / "SECURITY.md").read_text()
    sections = re.split(r"^### ", text, flags=re.MULTILINE)[1:]
    surfaces = ("data port", "Prediction ids", "admin port", "metrics port", "Bundles", "ONNX models",
                "state directory", "Alert sinks", "process")  # fmt: skip
    assert [section.partition("\n")[0] for section in sections if THREATS not in section] == []
    for surface in surfaces:
        assert any(surface in section.partition("\n")[0] for section in sections), surface


@pytest.mark.parametrize(("threat", "tests"), threats())
def test_each_threat_names_tests_that_exist(threat: str, tests: str) -> None:
    named = NAMED.findall(tests)
    assert named, f"'{threat}' names no test"
    assert len(named) == tests.count("::"), f"'{threat}': a test is named in another form"
    for path, name in named:
        source = (ROOT / "tests" / path).read_text()
        case = f"def {name}(" if path.endswith(".py") else f'TEST_CASE("{name}")'
        assert case in source, f"tests/{path} has no test '{name}'"


def test_every_pin_has_a_hash() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = re.split(r"\n(?=\S)", "\n".join(line for line in lines if not line.startswith("#")).strip())
    assert len(pins) > 50
    assert [pin.partition(" ")[0] for pin in pins if "--hash=sha256:" not in pin or "==" not in pin] == []
