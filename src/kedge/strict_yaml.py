"""YAML that people write for Kedge, read without the ways one document can mean two things."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, Final

import yaml

if TYPE_CHECKING:
    from pathlib import Path

    from kedge.errors import KedgeError


NUMBER_CHARS: Final = 64
"""Of one number: those of base 60 and of many digits take time that grows with the square, and cannot be shown."""


class _Loader(yaml.SafeLoader):
    """Refuses duplicate keys, and aliases, which grow without bound."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for node_of_key, _ in node.value:
            key = self.construct_object(node_of_key, deep=True)
            if isinstance(key, Hashable):
                if key in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"key '{key}' appears twice", node_of_key.start_mark
                    )
                seen.add(key)
        return super().construct_mapping(node, deep)

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            mark = self.get_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are not used here", mark)
        return super().compose_node(parent, index)

    def short_number(self, node: Any) -> Any:
        """An integer or a fraction, if it is none to wait for."""
        if len(node.value) > NUMBER_CHARS:
            problem = f"a number of {len(node.value)} characters, at most {NUMBER_CHARS} are read; quote what is text"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        whole = node.tag.endswith(":int")
        return (super().construct_yaml_int if whole else super().construct_yaml_float)(node)


for _kind in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _Loader.short_number)


def read(path: Path, what: str, limit: int, error_type: type[KedgeError]) -> Any:
    """What a file says; None where it is empty.

    Args:
        path: the file.
        what: it is called in messages, such as ``spec``.
        limit: bytes; a longer file is refused.
        error_type: what is raised.

    Raises:
        error_type: the file cannot be read, is too long, is not UTF-8 or not YAML.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise error_type(f"cannot read {what} '{path}': {error.strerror}") from error
    if len(data) > limit:
        raise error_type(f"{what} '{path}': over {limit} bytes; a {what} is a page of YAML")
    try:
        return yaml.load(data.decode("utf-8"), _Loader)  # noqa: S506 - a SafeLoader, stricter
    except UnicodeDecodeError as error:
        raise error_type(f"{what} '{path}': not UTF-8 at byte {error.start}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise error_type(f"{what} '{path}': not valid YAML{where}: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        raise error_type(f"{what} '{path}': not valid YAML: {str(error).partition(chr(10))[0]}") from error
