"""Whatever is done to a bundle, opening it succeeds or says why not: never another exception, never a crash."""

from __future__ import annotations

import copy
import io
import json
import math
import runpy
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kedge.bundle import archive, canonical, verify
from kedge.errors import BundleError

MAKING = runpy.run_path(str(Path(__file__).parents[1] / "unit" / "bundle" / "making.py"))
CONTENT: dict[str, bytes] = MAKING["files"]()
ARCHIVE: bytes = MAKING["pack"](CONTENT)
DOCUMENTS: dict[str, Any] = MAKING["documents"]()


def opens(data: bytes) -> bool:
    """Whether the archive is accepted; anything but acceptance or a `BundleError` fails the test."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "a.kedge")
        path.write_bytes(data)
        try:
            with verify.opened(path) as bundle:
                bundle.layout()
                return True
        except BundleError as error:
            if not str(error).isprintable():
                raise AssertionError(ascii(str(error))) from error
            return False


POSITIONS = st.integers(0, len(ARCHIVE))
EDITS = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), POSITIONS, st.binary(min_size=1, max_size=1024)),
        st.tuples(st.just("delete"), POSITIONS, st.integers(1, 1024)),
        st.tuples(st.just("replace"), POSITIONS, st.binary(min_size=1, max_size=64)),
        st.tuples(st.just("move"), st.integers(0, len(ARCHIVE) // 512), st.integers(0, len(ARCHIVE) // 512)),
    ),
    min_size=1,
    max_size=4,
)


def edited(edits: list[tuple[str, int, Any]]) -> bytes:
    data = bytearray(ARCHIVE)
    for kind, at, what in edits:
        if kind == "insert":
            data[at:at] = what
        elif kind == "delete":
            del data[at : at + what]
        elif kind == "replace":
            data[at : at + len(what)] = what
        else:
            block = data[at * 512 : (at + 1) * 512]
            del data[at * 512 : (at + 1) * 512]
            data[what * 512 : what * 512] = block
    return bytes(data)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(EDITS)
def test_an_edited_archive_is_refused(edits: list[tuple[str, int, Any]]) -> None:
    data = edited(edits)
    reader = archive.Reader(io.BytesIO(data), len(data))
    try:
        verify.receive(reader, lambda _, chunks: [*chunks].clear())
    except BundleError:
        assert data != ARCHIVE
    else:
        assert data == ARCHIVE


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(st.integers(0, len(CONTENT["model/model.onnx"]) - 1), st.integers(0, 255)), min_size=1, max_size=6
    )
)
def test_a_mutated_model_with_honest_digests_opens_or_is_refused(changes: list[tuple[int, int]]) -> None:
    model = bytearray(CONTENT["model/model.onnx"])
    for at, byte in changes:
        model[at] = byte
    opens(MAKING["pack"]({**CONTENT, "model/model.onnx": bytes(model)}))


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53) + 1, 2**53 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "x", "y", "speed", "nan", "sentinel", "categorical", "\x1b[2J", "../x", "numeric", "BYTES"]),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """The documents with values here and there replaced or removed."""
    result = copy.deepcopy(DOCUMENTS)
    for _ in range(draw(st.integers(1, 2))):
        at: Any = result[draw(st.sampled_from(sorted(result)))]
        while True:
            keys = list(range(len(at))) if isinstance(at, list) else sorted(at)
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(at[key], (list, dict)) and at[key] and draw(st.integers(0, 4)):
                at = at[key]
                continue
            if draw(st.booleans()):
                at[key] = draw(VALUES)
            else:
                del at[key]
            break
    return result


@settings(max_examples=200, deadline=None, derandomize=True)
@given(documents())
def test_mutated_documents_with_honest_digests_open_or_are_refused(changed: dict[str, Any]) -> None:
    opens(MAKING["pack"](MAKING["files"](changed)))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(VALUES)
def test_canonical_json_reads_back_as_what_was_written(value: Any) -> None:
    data = canonical.encode(value)
    back = canonical.decode_canonical(data, "f")
    assert canonical.encode(back) == data
    assert json.loads(data, parse_int=float) == back == value


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(alphabet='[]{}",:\\u0d8Ee-+.19 tfnNI\x00\n\u20ac', max_size=24))
def test_strict_parsing_never_accepts_more_than_the_standard_parser(text: str) -> None:
    try:
        value = canonical.decode(text.encode(), "f")
    except BundleError:
        return
    loose = json.loads(text, parse_int=float)
    assert loose == value
    assert not isinstance(value, float) or math.isfinite(value)
