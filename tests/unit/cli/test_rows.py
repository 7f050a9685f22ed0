"""Columns of a file as the inputs of a model."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from kedge.cli import rows
from kedge.client import ModelMetadata, TensorMetadata
from kedge.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def model(*inputs: tuple[str, str, tuple[int, ...]]) -> ModelMetadata:
    return ModelMetadata("m", ("1",), tuple(TensorMetadata(*spec) for spec in inputs), ())


WIDE = model(("x", "FP32", (-1, 3)))
TABLE = pa.table({"a": [1.0, 2.0], "b": [3, None], "c": [5, 6], "label": [0, 1]})


def test_one_wide_input_takes_columns_in_order() -> None:
    made = rows.inputs(TABLE.drop(["label"]), WIDE)
    assert made.arrays["x"].dtype == np.float32
    assert np.array_equal(made.arrays["x"], np.array([[1, 3, 5], [2, np.nan, 6]], np.float32), equal_nan=True)
    chosen = rows.inputs(TABLE, WIDE, ["c", "b", "a"])
    assert np.array_equal(chosen.arrays["x"][0], np.array([5, 3, 1], np.float32))


def test_a_wrong_number_of_columns_says_how_to_choose() -> None:
    with pytest.raises(ConfigError, match=r"takes \[N, 3\] in 'x', the input has 4 columns .*--columns"):
        rows.inputs(TABLE, WIDE)
    with pytest.raises(ConfigError, match="needs columns the input has not: 'z'"):
        rows.inputs(TABLE, WIDE, ["a", "b", "z"])


def test_inputs_by_name_ignore_other_columns() -> None:
    made = rows.inputs(TABLE, model(("c", "INT64", (-1, 1)), ("a", "FP64", (-1,))))
    assert made.arrays["c"].tolist() == [[5], [6]]
    assert made.arrays["c"].dtype == np.int64
    assert made.arrays["a"].tolist() == [1.0, 2.0]


def test_text_is_bytes_and_null_is_empty() -> None:
    table = pa.table({"s": ["é", None], "t": [1, 2]})
    made = rows.inputs(table, model(("s", "BYTES", (-1, 1)), ("t", "BYTES", (-1,))))
    assert made.arrays["s"].tolist() == [["é".encode()], [b""]]
    assert made.arrays["t"].tolist() == [b"1", b"2"]


def test_lists_fill_wider_inputs() -> None:
    table = pa.table({"v": [[1.0, 2.0], [3.0, 4.0]], "w": [1.0, 2.0]})
    made = rows.inputs(table, model(("v", "FP32", (-1, 2)), ("w", "FP32", (-1,))))
    assert made.arrays["v"].shape == (2, 2)
    with pytest.raises(ConfigError, match=r"has shape \[2, 2\], the model takes \[-1, 3\]"):
        rows.inputs(table, model(("v", "FP32", (-1, 3)), ("w", "FP32", (-1,))))


@pytest.mark.parametrize(
    ("column", "dtype", "message"),
    [
        ([1, None], "INT64", "has no value in row 2"),
        ([1.5, 2.0], "INT32", "it holds fractions"),
        (["a", "b"], "FP32", "it holds text"),
        ([1e300, 1.0], "FP32", "does not fit input"),
    ],
)
def test_values_that_do_not_fit_are_named(column: list[object], dtype: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"column 'v'.*{message}"):
        rows.inputs(pa.table({"v": column}), model(("v", dtype, (-1,))))


def test_integers_out_of_range_are_refused_not_wrapped() -> None:
    with pytest.raises(ConfigError, match="column 'v' does not fit input 'v' of INT8"):
        rows.inputs(pa.table({"v": [1, 300]}), model(("v", "INT8", (-1,))))


def test_answers_are_columns() -> None:
    table = rows.answers({"p": np.array([[0.25, 0.75]]), "label": np.array([1]), "s": np.array([[b"x\xff"]], object)})
    assert table.to_pylist() == [{"p_0": 0.25, "p_1": 0.75, "label": 1, "s": "x�"}]


def test_a_wide_input_takes_the_columns_the_model_names_in_whatever_order_the_file_has_them() -> None:
    made = rows.inputs(TABLE, WIDE, known=("c", "a", "b"))
    assert made.arrays["x"][0].tolist() == [5, 1, 3]
    assert made.note == "columns were matched by name; ignored: 'label'"
    assert rows.inputs(TABLE.drop(["label"]), WIDE, known=("c", "a", "b")).note == ""


def test_columns_asked_for_go_before_the_names_of_the_model() -> None:
    made = rows.inputs(TABLE, WIDE, ["b", "a", "c"], known=("c", "a", "b"))
    assert made.arrays["x"][0].tolist() == [3, 1, 5]
    assert made.note == ""


@pytest.mark.parametrize(
    ("known", "why"),
    [
        (("a", "b", "z"), "the file has no 'z'"),
        (("a", None, "c"), "the model does not name them all"),
        ((), "the model does not name them all"),
    ],
)
def test_a_match_by_position_says_so_and_why(known: tuple[str | None, ...], why: str) -> None:
    made = rows.inputs(TABLE.drop(["label"]), WIDE, known=known)
    assert made.arrays["x"][0].tolist() == [1, 3, 5]
    assert made.note.startswith(f"columns were taken for 'x' by position, because {why};")


def test_a_wrong_number_of_columns_names_those_of_the_model() -> None:
    with pytest.raises(ConfigError, match="the model's are 'a', 'b', 'z'"):
        rows.inputs(TABLE, WIDE, known=("a", "b", "z"))


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("r.csv", b"a,b\n1,2\n\x07secret,2,3\n", "cannot be read as csv: its header has 2 columns, a row has 3"),
        ("r.csv", b"", "cannot be read as csv: Empty CSV file"),
        ("r.csv", b"\xff\xfe,b\n1,2\n", "cannot be read as csv: it is not UTF-8 text"),
        ("r.csv", b"a,b,a\n1,2,3\n", "has more than one column 'a'"),
        ("r.json", b"\xff", "cannot be read as json: it is not UTF-8 text"),
        ("r.json", b'[{"a": 99999999999999999999999}]', "cannot be read as json: "),
        ("r.parquet", b"PAR1 no", "cannot be read as parquet: "),
    ],
)
def test_a_file_that_cannot_be_read_is_one_clean_line(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ConfigError) as refused:
        rows.read(tmp_path / name)
    assert str(refused.value).startswith(f"--input: '{tmp_path / name}' {message}")
    assert str(refused.value).isprintable()
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("suffix", rows.SUFFIXES)
def test_a_missing_file_and_a_directory_are_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"r{suffix}"
    with pytest.raises(ConfigError) as missing:
        rows.read(path)
    assert str(missing.value) == f"--input: cannot read '{path}': No such file or directory"
    path.mkdir()
    with pytest.raises(ConfigError) as directory:
        rows.read(path)
    assert str(directory.value) == f"--input: cannot read '{path}': Is a directory"


def test_bytes_that_are_no_text_do_not_fit_a_number(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_bytes(b"v,b\n\xff\xfe,2\n")
    with pytest.raises(ConfigError, match="column 'v' does not fit input 'v' of FP32: it holds text"):
        rows.inputs(rows.read(tmp_path / "r.csv"), model(("v", "FP32", (-1,))))


def test_a_target_is_checked_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.csv").mkdir()
    cases = {
        "o.txt": "must end in .parquet, .csv, .json",
        "none/o.csv": "does not exist; make it first",
        "file/o.csv": "is no directory",
        "folder.csv": "is a directory",
    }
    for name, message in cases.items():
        with pytest.raises(ConfigError, match=f"^--output: .* {message}$"):
            rows.check_target(tmp_path / name)
    rows.check_target(tmp_path / "o.csv")
    assert not (tmp_path / "o.csv").exists()
    # What the kernel says to a user without the right; root, who may run this, has every right.
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ConfigError, match=r"^--output: .* cannot be written; check the permissions$"):
        rows.check_target(tmp_path / "o.csv")


def test_a_disk_that_refuses_is_one_line(tmp_path: Path) -> None:
    for suffix in rows.SUFFIXES:
        target = tmp_path / f"o{suffix}"
        target.symlink_to("/dev/full")
        with pytest.raises(ConfigError, match=f"^--output: cannot write '{target}': "):
            rows.write(pa.table({"a": list(range(100_000))}), target)
