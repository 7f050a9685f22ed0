"""What differs between two bundles, section by section."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kedge.bundle.contents import Bundle
    from kedge.bundle.manifest import Model

_IDENTITY: Final = frozenset({"name", "version", "parent", "purpose", "risk_class", "owners"})
_TENSORS: Final = frozenset({"inputs", "outputs", "batchable"})
_LABELS: Final = ("name", "metric", "path", "role")
"""Fields that tell the elements of a list apart, so that they are compared by name, not by position."""


@dataclass(frozen=True)
class Change:
    """One value that differs.

    Attributes:
        where: dotted path within the section; elements of lists by their name.
        before: value in the first bundle; None where it has none.
        after: value in the second bundle; None where it has none.
    """

    where: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Section:
    """All changes in one part of the bundle."""

    name: str
    changes: tuple[Change, ...]


def compare(first: Bundle, second: Bundle) -> tuple[Section, ...]:
    """Sections that differ, in the order a reader asks: what is it, what does it take and run, how good is it.

    Counts of reference distributions are compared as they are; how far two distributions lie apart is the business
    of `kedge.stats`.
    """
    before, after = _sections(first), _sections(second)
    result: list[Section] = []
    for name in before:
        one, two = before[name], after[name]
        paths = list(dict.fromkeys((*one, *two)))
        changes = tuple(Change(path, one.get(path), two.get(path)) for path in paths if one.get(path) != two.get(path))
        if changes:
            result.append(Section(name, changes))
    return tuple(result)


def _sections(bundle: Bundle) -> dict[str, dict[str, Any]]:
    manifest = bundle.manifest.model_dump(mode="json")
    files = {entry.path: entry.sha256 for entry in bundle.manifest.files if not entry.path.endswith(".json")}
    golden = [entry.sha256 for entry in bundle.manifest.files if entry.role == "golden"]
    return {
        "identity": dict(_flatten({key: value for key, value in manifest.items() if key in _IDENTITY})),
        "tensors": dict(_flatten({key: value for key, value in manifest.items() if key in _TENSORS})),
        "files": files,
        "schema": _document(bundle.schema),
        "serving": _document(bundle.serving),
        "metrics": _document(bundle.metrics),
        "gates": _document(bundle.gates),
        "distributions": _document(bundle.distributions),
        "golden": {"sha256": golden[0]} if golden else {},
        "data": _document(bundle.snapshots),
        "provenance": _document(bundle.provenance),
    }


def _document(model: Model | None) -> dict[str, Any]:
    return {} if model is None else dict(_flatten(model.model_dump(mode="json")))


def _flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flatten(item, f"{prefix}.{key}" if prefix else key)
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        seen: dict[str, int] = {}
        for item in value:
            label = _label(item)
            seen[label] = seen.get(label, 0) + 1
            unique = label if seen[label] == 1 else f"{label}#{seen[label]}"
            yield from _flatten(item, f"{prefix}.{unique}")
    else:
        yield prefix, value


def _label(item: dict[str, Any]) -> str:
    name = next((str(item[key]) for key in _LABELS if key in item), "element")
    return f"{name}[{item['slice']}]" if item.get("slice") else name
