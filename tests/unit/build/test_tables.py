"""Data files: three kinds read alike, and what cannot be read is named with the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
import pytest

from kedge.build import splits, tables
from kedge.build.spec import DataSpec
from kedge.errors import SpecError

if TYPE_CHECKING:
    from pathlib import Path

TABLE = pa.table({"x": [1.5, 2.5, 3.5], "t": ["2013-01-02", "2013-01-01", "2013-01-03"]})


def write_all(folder: Path) -> list[Path]:
    pyarrow.parquet.write_table(TABLE, folder / "d.parquet")
    pyarrow.csv.write_csv(TABLE, folder / "d.csv")
    pyarrow.feather.write_feather(TABLE, folder / "d.feather")
    with pa.ipc.new_stream(folder / "d.arrow", TABLE.schema) as stream:
        stream.write_table(TABLE)
    return [folder / name for name in ("d.parquet", "d.csv", "d.feather", "d.arrow")]


def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path) -> None:
    for path in write_all(tmp_path):
        data = tables.read(path, path.name)
        assert data.table["x"].to_pylist() == [1.5, 2.5, 3.5]
        assert data.table.column_names == ["x", "t"]


def test_the_digest_is_of_the_file_and_the_schema_digest_of_names_and_types(tmp_path: Path) -> None:
    parquet, _, feather, _ = (tables.read(path, path.name) for path in write_all(tmp_path))
    assert parquet.sha256 != feather.sha256
    assert parquet.schema_sha256 == feather.schema_sha256


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("d.parquet", b"not parquet at all", "cannot read data file 'd.parquet'"),
        ("d.feather", b"ARROW1 and then nothing", "cannot read data file 'd.feather'"),
        ("d.arrow", b"\0\0\0", "cannot read data file 'd.arrow'"),
        ("d.csv", b"a,b\n1,2\n3\n", "cannot read data file 'd.csv': CSV parse error"),
        ("d.csv", b"", "cannot read data file 'd.csv': Empty CSV file"),
        ("d.csv", b"a,b\n", "'d.csv' has no rows"),
        ("d.csv", b"a,a\n1,2\n", "'d.csv': column 'a' appears twice"),
        ("d.xlsx", b"", "unknown ending '.xlsx'; known are .parquet, .csv"),
    ],
)
def test_unreadable_data_is_named_with_the_reason(tmp_path: Path, name: str, content: bytes, complaint: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SpecError) as caught:
        tables.read(tmp_path / name, name)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_or_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"cannot read data file 'absent.csv': No such file"):
        tables.read(tmp_path / "absent.csv", "absent.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(SpecError, match=r"cannot read data file 'folder.csv': Is a directory"):
        tables.read(tmp_path / "folder.csv", "folder.csv")


def test_times_may_be_text_numbers_or_timestamps_and_nothing_else(tmp_path: Path) -> None:
    def order(values: object) -> list[int]:
        return tables.time_order(tables.Data(pa.table({"t": values}), "d", "", ""), "t").tolist()

    assert order(pa.array(["2013-01-02", "2013-01-01"])) == [1, 0]
    assert order(pa.array([3.0, 1.0, 2.0])) == [1, 2, 0]
    assert order(pa.array([5, 4], pa.timestamp("s", tz="UTC"))) == [1, 0]
    with pytest.raises(SpecError, match="not a time or a number"):
        order(pa.array(["soon", "later"]))
    with pytest.raises(SpecError, match="1 empty values"):
        order(pa.array([1, None]))


def _reference(folder: Path, rows: int = 100) -> None:
    when = np.arange(rows)[::-1].copy()
    pyarrow.parquet.write_table(pa.table({"x": when.astype(float), "t": when}), folder / "r.parquet")


def test_held_out_parts_are_the_last_in_time_and_recorded_as_held_out(tmp_path: Path) -> None:
    _reference(tmp_path)
    found = splits.read(DataSpec(reference="r.parquet", time="t"), tmp_path)
    assert found.reference.table["t"].to_pylist() == list(range(100))
    assert found.calibration.table["t"].to_pylist() == list(range(60, 80))
    assert found.evaluation.table["t"].to_pylist() == list(range(80, 100))
    assert [(s.role, s.rows, s.held_out_of) for s in found.snapshots] == [
        ("reference", 100, None),
        ("calibration", 20, "reference"),
        ("evaluation", 20, "reference"),
    ]
    assert (found.snapshots[2].time_min, found.snapshots[2].time_max) == ("80", "99")


def test_without_time_the_parts_are_drawn_apart_and_always_the_same(tmp_path: Path) -> None:
    _reference(tmp_path)
    once, again = (splits.read(DataSpec(reference="r.parquet"), tmp_path) for _ in range(2))
    calibration, evaluation = (set(part.table["x"].to_pylist()) for part in (once.calibration, once.evaluation))
    assert len(calibration) == len(evaluation) == 20
    assert not calibration & evaluation
    assert max(evaluation) - min(evaluation) > 50, "drawn from everywhere"
    assert once.evaluation.table.equals(again.evaluation.table)


def test_too_few_rows_to_hold_out_is_refused(tmp_path: Path) -> None:
    _reference(tmp_path, 30)
    with pytest.raises(SpecError, match="30 rows; at least 50 are needed to hold out calibration and evaluation"):
        splits.read(DataSpec(reference="r.parquet"), tmp_path)
