"""Includes in C++ run one way: bindings -> (net | load), net -> engine -> (wire | sketch) -> base, load -> wire.

Python has import-linter.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAY_INCLUDE = {
    "base": {"base"},
    "sketch": {"sketch", "base"},
    "wire": {"wire", "base"},
    "engine": {"engine", "wire", "sketch", "base"},
    "net": {"net", "engine", "wire", "sketch", "base"},
    "load": {"load", "wire", "base"},
    "bindings": {"bindings", "net", "load", "engine", "wire", "sketch", "base"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s+["<]([a-z_]+)/[^">]+[">]', re.MULTILINE)


def includes() -> list[tuple[str, str, str]]:
    found = []
    for source in sorted((ROOT / "cpp").rglob("*.[ch]pp")):
        room = source.relative_to(ROOT / "cpp").parts[0]
        found += [(room, str(source.name), target) for target in INCLUDE.findall(source.read_text())]
    return [row for row in found if row[2] in MAY_INCLUDE]


def test_every_include_points_down() -> None:
    rows = includes()
    assert rows, "no include was found: the pattern or the layout changed"
    assert [row for row in rows if row[2] not in MAY_INCLUDE[row[0]]] == []


def test_only_bindings_see_pybind11() -> None:
    sources = (ROOT / "cpp").rglob("*.[ch]pp")
    seen = {source.relative_to(ROOT / "cpp").parts[0] for source in sources if "pybind11" in source.read_text()}
    assert seen == {"bindings"}
