"""What pydantic found wrong with a file a person wrote, as one sentence: the place in the YAML, and what is allowed."""

from __future__ import annotations

import difflib
import types
from typing import TYPE_CHECKING, Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel

if TYPE_CHECKING:
    from pydantic import ValidationError

_WANTED: Final = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dict_type": "a mapping",
    "tuple_type": "a list",
    "finite_number": "a finite number",
}
_SHOWN: Final = 60


def first_complaint(error: ValidationError, model: type[BaseModel], whole: str) -> str:
    """The most telling complaint of `error` about a value of `model`, which is called `whole` where all of it is wrong.

    Unknown keys come first (a misspelt key also makes a required one missing), then missing keys, then wrong values.
    """
    rank = {"extra_forbidden": 0, "missing": 1}
    complaint = min(error.errors(include_url=False), key=lambda item: rank.get(item["type"], 2))
    kind, got = complaint["type"], complaint.get("input")
    *above, last = complaint["loc"] or (whole,)
    place = [part for part in above if not _is_union_tag(part)]
    if complaint["loc"] and (kind == "extra_forbidden" or not _is_union_tag(last)):
        place.append(last)  # an unknown key is the file's own word, and may look like a tag
    where = _path(place) or whole
    if kind == "extra_forbidden":
        allowed = sorted(_keys(model, place[:-1]))
        close = difflib.get_close_matches(str(place[-1]), allowed, 1)
        hint = f"did you mean '{close[0]}'?" if close else f"allowed: {', '.join(allowed)}"
        return f"{where}: unknown key; {hint}"
    if kind == "missing":
        return f"{where}: missing; it must be given"
    if kind in _WANTED:
        return f"{where}: must be {_WANTED[kind]}, got {_show(got)}"
    if kind == "literal_error":
        return f"{where}: must be {complaint['ctx']['expected']}, got {_show(got)}"
    if kind == "string_pattern_mismatch":
        return f"{where}: must match {complaint['ctx']['pattern']}, got {_show(got)}"
    if kind == "value_error":
        return f"{where}: {complaint['ctx']['error']}, got {_show(got)}"
    message = complaint["msg"].removeprefix("Input ")
    return f"{where}: {message}, got {_show(got)}"


def _path(place: list[Any]) -> str:
    text = ""
    for part in place:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else str(part)
    return text


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _is_union_tag(part: Any) -> bool:
    """Pydantic adds the tried branch of a union, such as ``tuple[str, ...]``, to the place."""
    return isinstance(part, str) and ("[" in part or part in {"float", "str", "FeatureSpec"})


def _keys(model: type[BaseModel], place: list[Any]) -> list[str]:
    current: Any = model
    for part in place:
        if _is_model(current) and part in current.model_fields:  # else a name or index the user chose
            current = _model_in(current.model_fields[part].annotation)
    return list(current.model_fields) if _is_model(current) else []


def _is_model(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)


def _model_in(annotation: Any) -> Any:
    """The model somewhere inside an annotation such as ``dict[str, FeatureSpec | None]``, or the annotation itself."""
    if _is_model(annotation):
        return annotation
    if get_origin(annotation) in {Annotated, Union, types.UnionType, dict, tuple}:
        for inner in get_args(annotation):
            if _is_model(found := _model_in(inner)):
                return found
    return annotation
