"""Any damaged byte is refused, with the name of the file it stands in."""

from __future__ import annotations

import io
import random
from typing import TYPE_CHECKING

import making
import pytest

from kedge.bundle import archive, canonical, ustar, verify
from kedge.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path


def owners_of_bytes(content: dict[str, bytes]) -> list[str]:
    """Which file each block of the archive belongs to."""
    manifest = canonical.encode(making.manifest(content))
    spans = [("bundle.json", len(manifest)), *((path, len(content[path])) for path in sorted(content))]
    return [name for name, size in spans for _ in range(ustar.span(size) // ustar.BLOCK)] + ["end of archive"] * 2


def flips(data: bytes, step: int) -> Iterator[tuple[int, bytes]]:
    """The archive with one byte changed to another value, for every `step`-th byte."""
    rng = random.Random(7)
    damaged = bytearray(data)
    for position in range(0, len(data), step):
        damaged[position] ^= rng.randrange(1, 256)
        yield position, bytes(damaged)
        damaged[position] = data[position]


def discard(_: str, chunks: Iterable[bytes]) -> None:
    for _ in chunks:
        pass


def test_flipping_any_single_byte_is_refused_with_the_files_name() -> None:
    content = making.files()
    data = making.pack(content)
    names = owners_of_bytes(content)
    assert len(names) * ustar.BLOCK == len(data)
    verify.receive(archive.Reader(io.BytesIO(data), len(data)), discard)
    for position, damaged in flips(data, 1):
        with pytest.raises(BundleError) as caught:
            verify.receive(archive.Reader(io.BytesIO(damaged), len(data)), discard)
        assert names[position // ustar.BLOCK] in str(caught.value), position


def test_a_flipped_byte_leaves_nothing_behind(refused: Callable[[bytes], str]) -> None:
    content = making.files()
    names = owners_of_bytes(content)
    for position, damaged in flips(making.pack(content), 61):
        assert names[position // ustar.BLOCK] in refused(damaged)


def test_an_archive_cut_anywhere_is_refused(tmp_path: Path) -> None:
    data = making.pack(making.files())
    cut = tmp_path / "cut.kedge"
    for size in (*range(0, len(data), 509), len(data) - 1):
        cut.write_bytes(data[:size])
        with pytest.raises(BundleError), verify.opened(cut):
            pytest.fail(f"opened at {size} bytes")


def test_the_reader_itself_refuses_a_cut_archive_whose_size_was_not_known(tmp_path: Path) -> None:
    content = making.files()
    cut = tmp_path / "cut.kedge"
    cut.write_bytes(making.pack(content)[:-600])
    with cut.open("rb", buffering=0) as file:
        reader = archive.Reader(file, cut.stat().st_size)
        manifest = archive.parse_manifest(reader.manifest())
        for entry in manifest.files:
            for _ in reader.member(entry):
                pass
        with pytest.raises(BundleError, match="end of archive: the archive ends here"):
            reader.end()
