"""Archives made to escape, exhaust or confuse are refused before anything is written outside staging.

The fixture `refused` compares everything around the archive before and after.
"""

from __future__ import annotations

import io
import os
import tarfile
from typing import TYPE_CHECKING, Any

import making
import pytest

from kedge.bundle import canonical, limits, ustar, verify
from kedge.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def with_header(header: bytes, at: str = "model/model.onnx") -> bytes:
    """An archive in which the header of one member is another one."""
    content = making.files()
    return making.pack(content).replace(ustar.header(at, len(content[at])), header, 1)


def foreign(name: str, size: int, kind: bytes, link: str = "") -> bytes:
    """A well-formed header that Kedge would never write, its checksum right."""
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname, info.mtime, info.mode = size, kind, link, 0, 0o644
    return info.tobuf(tarfile.USTAR_FORMAT)[: ustar.BLOCK]


def rewritten(change: Callable[[dict[str, Any]], None]) -> bytes:
    """An archive whose bundle.json was changed, and is canonical and covered by its checksum again."""
    content = making.files()
    manifest = making.manifest(content)
    change(manifest)
    return making.pack(content, canonical.encode(manifest))


ESCAPES = (
    "../evil",
    "/evil",
    "model/../../evil",
    "model/../evil",
    "./evil",
    "model//evil",
    "..",
    "model/",
    "a/b/c",
)


@pytest.mark.parametrize("path", ESCAPES)
def test_a_listed_path_that_leaves_its_folder_is_refused(refused: Callable[[bytes], str], path: str) -> None:
    def escape(manifest: dict[str, Any]) -> None:
        manifest["files"][-1]["path"] = path

    assert "bundle.json: files" in refused(rewritten(escape))


@pytest.mark.parametrize("path", ESCAPES)
def test_a_member_that_leaves_its_folder_is_refused(refused: Callable[[bytes], str], path: str) -> None:
    size = len(making.files()["model/model.onnx"])
    message = refused(with_header(foreign(path, size, tarfile.REGTYPE)))
    assert "header of model/model.onnx" in message


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (tarfile.SYMTYPE, "symbolic link"),
        (tarfile.LNKTYPE, "hard link"),
        (tarfile.CHRTYPE, "character device"),
        (tarfile.BLKTYPE, "block device"),
        (tarfile.FIFOTYPE, "FIFO"),
        (tarfile.DIRTYPE, "directory"),
        (b"x", "pax"),
        (b"g", "pax"),
        (b"L", "GNU long name"),
        (b"K", "GNU long link"),
        (b"S", "sparse"),
        (b"7", "unknown kind"),
        (b"\0", "unknown kind"),
    ],
)
def test_links_devices_and_extensions_are_refused(refused: Callable[[bytes], str], kind: bytes, word: str) -> None:
    size = len(making.files()["model/model.onnx"])
    if kind == tarfile.DIRTYPE:
        header = foreign("model/model.onnx", size, kind).replace(b"model.onnx/", b"model.onnx\0", 1)
        header = fix_checksum(header)
    else:
        header = foreign("model/model.onnx", size, kind, "/etc/passwd")
    message = refused(with_header(fix_checksum(header)))
    assert "header of model/model.onnx" in message
    assert word in message


def fix_checksum(header: bytes) -> bytes:
    blank = header[:148] + b" " * 8 + header[156:]
    return blank[:148] + b"%06o\0 " % sum(blank) + blank[156:]


def test_a_path_in_the_prefix_field_is_refused(refused: Callable[[bytes], str]) -> None:
    content = making.files()
    plain = bytearray(ustar.header("model/model.onnx", len(content["model/model.onnx"])))
    plain[345:353] = b"/etc/abc"
    assert "header of model/model.onnx" in refused(with_header(fix_checksum(bytes(plain))))


def test_an_extra_member_is_refused(refused: Callable[[bytes], str]) -> None:
    data = making.pack(making.files())
    assert "more than bundle.json accounts for" in refused(
        data[: -len(ustar.END)] + making.member("model/extra", b"extra") + ustar.END
    )


def test_an_extra_member_in_the_middle_is_refused(refused: Callable[[bytes], str]) -> None:
    content = making.files()
    listed = making.pack(content)
    extra = making.pack({**content, "docs/modelcard.md": b"# A card"}, canonical.encode(making.manifest(content)))
    assert len(extra) > len(listed)
    assert "more than bundle.json accounts for" in refused(extra)


def test_a_member_in_place_of_another_is_refused(refused: Callable[[bytes], str]) -> None:
    content = making.files()
    manifest = canonical.encode(making.manifest(content))
    card = content.pop("golden/golden.json")
    data = making.pack({**content, "golden/other.json": card}, manifest)
    message = refused(data)
    assert "golden/golden.json" in message
    assert "'golden/other.json' stands here" in message


def test_a_missing_member_is_refused(refused: Callable[[bytes], str]) -> None:
    content = making.files()
    manifest = canonical.encode(making.manifest(content))
    del content["golden/golden.json"]
    assert "fewer than bundle.json accounts for" in refused(making.pack(content, manifest))


def test_an_archive_that_ends_before_a_member_names_it(refused: Callable[[bytes], str]) -> None:
    content = making.files()
    data = making.pack(content)
    start = data.index(ustar.header("model/model.onnx", len(content["model/model.onnx"])))
    assert "model/model.onnx is missing" in refused(data[:start] + bytes(len(data) - start))


def test_a_missing_required_file_is_refused(refused: Callable[[bytes], str]) -> None:
    for path in making.files():
        content = making.files()
        del content[path]
        if path in ("golden/golden.json", "reference/distributions.json"):
            continue
        assert f"{path} is missing" in refused(making.pack(content))


def test_a_duplicate_member_is_refused(refused: Callable[[bytes], str]) -> None:
    def twice(manifest: dict[str, Any]) -> None:
        manifest["files"].insert(0, manifest["files"][0])

    assert "listed twice" in refused(rewritten(twice))
    content = making.files()
    again = making.member("model/model.onnx", content["model/model.onnx"])
    data = making.pack(content)
    assert "more than" in refused(data.replace(again, again * 2, 1))


def test_members_out_of_order_are_refused(refused: Callable[[bytes], str]) -> None:
    def unsorted(manifest: dict[str, Any]) -> None:
        manifest["files"].reverse()

    assert "not sorted" in refused(rewritten(unsorted))


def test_trailing_data_is_refused(refused: Callable[[bytes], str]) -> None:
    data = making.pack(making.files())
    assert "1 bytes more" in refused(data + b"\0")
    assert "more than" in refused(data + bytes(ustar.BLOCK * 20))
    assert "more than" in refused(data + data)


def test_trailing_data_that_appears_while_reading_is_refused() -> None:
    from kedge.bundle.archive import Reader

    data = making.pack(making.files())
    with pytest.raises(BundleError, match="end of archive: trailing data"):
        verify.receive(Reader(io.BytesIO(data + b"more"), len(data)), lambda _, chunks: [*chunks].clear())


def test_a_lying_size_is_refused(refused: Callable[[bytes], str]) -> None:
    content = making.files()
    size = len(content["model/model.onnx"])
    assert f"says {size - 1} bytes, expected {size}" in refused(with_header(ustar.header("model/model.onnx", size - 1)))

    def longer(manifest: dict[str, Any]) -> None:
        next(entry for entry in manifest["files"] if entry["role"] == "model")["size"] += 1

    assert f"header of model/model.onnx: says {size} bytes" in refused(rewritten(longer))

    def huge(manifest: dict[str, Any]) -> None:
        next(entry for entry in manifest["files"] if entry["role"] == "model")["size"] += 1 << 29

    assert "fewer than bundle.json accounts for" in refused(rewritten(huge))


def test_a_manifest_that_declares_gigabytes_is_not_read(refused: Callable[[bytes], str]) -> None:
    assert "size is not a number up to" in refused(ustar.header("bundle.json", limits.MANIFEST_BYTES + 1) + b"x" * 99)


@pytest.mark.parametrize(
    "digits", [b"0000000002x\0", b"00000000 26\0", b"-0000000026\0", b"\x80" + b"\0" * 10 + b"\x1a"]
)
def test_sizes_that_are_not_eleven_octal_digits_are_refused(refused: Callable[[bytes], str], digits: bytes) -> None:
    block = bytearray(ustar.header("bundle.json", 22))
    block[124:136] = digits
    assert "size is not a number" in refused(fix_checksum(bytes(block)) + b"{}" + bytes(510) + ustar.END)


@pytest.mark.parametrize(
    ("role", "limit"), [("golden", "GOLDEN_BYTES"), ("schema", "JSON_BYTES"), ("model", "MODEL_BYTES")]
)
def test_an_oversized_member_is_refused_before_it_is_read(
    refused: Callable[[bytes], str], role: str, limit: str
) -> None:
    def oversize(manifest: dict[str, Any]) -> None:
        next(entry for entry in manifest["files"] if entry["role"] == role)["size"] = getattr(limits, limit) + 1

    assert f"limit {getattr(limits, limit)}" in refused(rewritten(oversize))


def test_more_members_than_the_limit_are_refused(refused: Callable[[bytes], str]) -> None:
    def many(manifest: dict[str, Any]) -> None:
        entry = {"size": 0, "sha256": "0" * 64, "role": "external-data"}
        manifest["files"] = [{**entry, "path": f"model/{i:05}"} for i in range(limits.MEMBERS + 1)]

    assert "bundle.json: files" in refused(rewritten(many))


def test_an_oversized_archive_is_refused_without_reading_it(tmp_path: Path) -> None:
    huge = tmp_path / "huge.kedge"
    with huge.open("wb") as file:
        file.truncate(limits.ARCHIVE_BYTES + 1)  # sparse: takes no space
    with pytest.raises(BundleError, match=f"limit {limits.ARCHIVE_BYTES}"), verify.opened(huge):
        pytest.fail("opened")


def test_what_is_not_a_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo", tmp_path / "absent"):
        with pytest.raises(BundleError, match=path.name), verify.opened(path):
            pytest.fail("opened")


def test_other_archives_are_refused(refused: Callable[[bytes], str]) -> None:
    for format_ in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w", format=format_) as tar:
            info = tarfile.TarInfo("bundle.json")
            info.size = 2
            tar.addfile(info, io.BytesIO(b"{}"))
        assert "header of bundle.json" in refused(data.getvalue())
    assert "header of bundle.json" in refused(b"PK\x03\x04" + bytes(1000))
    for short in (b"", b"name: flights\n"):
        assert "not a bundle archive (too short for one)" in refused(short)


def test_json_that_two_parsers_could_read_differently_is_refused(refused: Callable[[bytes], str]) -> None:
    content = making.files()
    good = canonical.encode(making.manifest(content))
    for bad, reason in (
        (good.replace(b'"name":"flights"', b'"name":"flights","name":"flights"', 1), "appears twice"),
        (good.replace(b'"purpose":"tests"', b'"purpose":NaN', 1), "NaN is not JSON"),
        (good.replace(b'"purpose":"tests"', b'"purpose":' + b"[" * 100 + b"]" * 100, 1), "nested deeper"),
        (good.replace(b'"purpose":"tests"', b'"purpose": "tests"', 1), "canonical"),
        (good + b"\n", "canonical"),
        (good.replace(b'"purpose":"tests"', b'"purpose":"\\u0074ests"', 1), "canonical"),
        (good.replace(b'"purpose":"tests"', b'"purpose":"\xff"', 1), "not UTF-8"),
        (good.replace(b'"purpose":"tests"', b'"purpose":"tests","surprise":1', 1), "surprise"),
        (good.replace(b"bundle/1", b"bundle/2", 1), "format"),
        (good.replace(b'"purpose":"tests"', b'"purpose":"\\u001b[2J"', 1), "purpose"),
        (good[:-1], "not JSON"),
        (b"[]", "bundle.json"),
    ):
        assert bad != good
        assert reason in refused(making.pack(content, bad))


def test_every_json_member_is_parsed_strictly(refused: Callable[[bytes], str]) -> None:
    for path, document in making.documents().items():
        for bad, reason in (
            (b"[" * 40 + b"]" * 40, "nested deeper"),
            (b'{"a":1,"a":1}', "appears twice"),
            (canonical.encode({**document, "surprise": 1}), "surprise"),
            (b"\xff", "not UTF-8"),
        ):
            message = refused(making.pack({**making.files(), path: bad}))
            assert message.startswith(path)
            assert reason in message


def test_a_key_chosen_to_drive_a_terminal_is_shown_harmless(refused: Callable[[bytes], str]) -> None:
    hostile = canonical.encode({"gates": [], "\x1b[2J": 1})
    assert "\\x1b" in refused(making.pack({**making.files(), "eval/gates.json": hostile}))


def test_a_role_in_the_wrong_place_is_refused(refused: Callable[[bytes], str]) -> None:
    def swap(manifest: dict[str, Any]) -> None:
        next(entry for entry in manifest["files"] if entry["role"] == "golden")["role"] = "card"

    def second(manifest: dict[str, Any]) -> None:
        next(entry for entry in manifest["files"] if entry["role"] == "model")["role"] = "external-data"

    assert "no place for a file of role 'card'" in refused(rewritten(swap))
    assert "no place for a file of role 'external-data'" in refused(rewritten(second))
