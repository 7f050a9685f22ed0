"""The container of a plane's counts: what goes in comes out, and damage is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.errors import SnapshotError
from kedge.plane import cells
from kedge.plane.contract import Arm

keys = st.tuples(st.binary(min_size=32, max_size=32).map(bytes.hex), st.sampled_from(Arm), st.integers(0, 2**64 - 1))
contents = st.builds(cells.Cell, st.binary(max_size=40), st.binary(max_size=40))
containers = st.dictionaries(keys, contents, max_size=5)
ONE = cells.encode(
    {("ab" * 32, Arm.CANARY, 7): cells.Cell(b"counts", b"evidence"), ("00" * 32, Arm.LIVE, 1): cells.Cell(b"")}
)


@given(containers)
def test_what_goes_in_comes_out_and_order_does_not_matter(container: dict[cells.CellKey, cells.Cell]) -> None:
    data = cells.encode(container)
    assert cells.decode(data) == container
    assert cells.encode(dict(reversed(list(container.items())))) == data


def test_every_truncation_and_every_addition_is_refused() -> None:
    for end in range(len(ONE)):
        with pytest.raises(SnapshotError):
            cells.decode(ONE[:end])
    with pytest.raises(SnapshotError, match="after the last cell"):
        cells.decode(ONE + b"x")


@pytest.mark.parametrize(
    ("at", "value", "words"),
    [(0, 0x58, "not one"), (4, 9, "version 9"), (6, 1, "not one"), (12 + 32, 9, "damaged"), (12 + 33, 1, "damaged")],
)
def test_damage_is_named(at: int, value: int, words: str) -> None:
    data = bytearray(ONE)
    data[at] = value
    with pytest.raises(SnapshotError, match=words):
        cells.decode(bytes(data))


def test_a_cell_twice_is_refused() -> None:
    one = cells.encode({("ab" * 32, Arm.LIVE, 1): cells.Cell(b"x")})
    twice = one[:8] + (2).to_bytes(4, "little") + one[12:] * 2
    with pytest.raises(SnapshotError, match="twice"):
        cells.decode(twice)
