"""Archives are deterministic, plain ustar, and written only from directories that are what bundle.json says."""

from __future__ import annotations

import hashlib
import subprocess
import tarfile
from pathlib import Path

import making
import pytest

from kedge.bundle import archive, limits, ustar, verify
from kedge.errors import BundleError


def test_equal_directories_give_equal_bytes_and_the_id_is_the_digest_of_the_manifest(tmp_path: Path) -> None:
    content = making.files()
    first = making.lay_out(tmp_path / "a", content)
    second = making.lay_out(tmp_path / "b", dict(reversed(content.items())))
    (second / "bundle.json").chmod(0o600)
    assert archive.write(first, tmp_path / "a.kedge") == archive.write(second, tmp_path / "b.kedge")
    data = (tmp_path / "a.kedge").read_bytes()
    assert data == (tmp_path / "b.kedge").read_bytes() == making.pack(content)
    with verify.opened(tmp_path / "a.kedge") as bundle:
        assert bundle.id == hashlib.sha256((first / "bundle.json").read_bytes()).hexdigest()


def test_other_tools_read_it(tmp_path: Path) -> None:
    content = making.files()
    file = tmp_path / "a.kedge"
    archive.write(making.lay_out(tmp_path / "tree", content), file)
    with tarfile.open(file) as tar:
        assert tar.getnames() == ["bundle.json", *sorted(content)]
        assert all(info.isreg() and info.mtime == 0 and info.mode == 0o644 for info in tar)
    out = tmp_path / "out"
    out.mkdir()
    result = subprocess.run(["tar", "xf", file, "-C", out], capture_output=True, text=True, check=True)
    assert result.stderr == ""
    for path, data in content.items():
        assert (out / path).read_bytes() == data


def test_what_was_opened_can_be_packed_again_to_the_same_bytes(tmp_path: Path) -> None:
    data = making.pack(making.files())
    (tmp_path / "a.kedge").write_bytes(data)
    with verify.opened(tmp_path / "a.kedge") as bundle:
        archive.write(bundle.directory, tmp_path / "b.kedge")
    assert (tmp_path / "b.kedge").read_bytes() == data
    assert not bundle.directory.exists()


def test_a_directory_that_is_not_what_its_manifest_says_is_not_packed(tmp_path: Path) -> None:
    tree = making.lay_out(tmp_path / "tree", making.files())
    out = tmp_path / "a.kedge"
    model = tree / "model/model.onnx"
    original = model.read_bytes()
    for spoil, reason in (
        (lambda: model.write_bytes(original + b"x"), "size or SHA-256 differs"),
        (lambda: model.write_bytes(bytes(len(original))), "size or SHA-256 differs"),
        (model.unlink, "missing"),
        (lambda: [model.write_bytes(original), (tree / "stray").touch()], "'stray' is not listed"),
        ((tree / "bundle.json").unlink, "cannot read"),
    ):
        spoil()
        with pytest.raises(BundleError, match=reason):
            archive.write(tree, out)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["tree"]


@pytest.mark.parametrize("out", [".", "", "..", "/", "folder"])
def test_a_folder_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str) -> None:
    tree = making.lay_out(tmp_path / "tree", making.files())
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleError, match="is a directory; name the archive to write"):
        archive.write(tree, Path(out))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "tree"]


def test_headers_hold_eight_gibibytes_and_a_hundred_bytes_of_path() -> None:
    largest = ustar.header("a" * limits.PATH_BYTES, limits.MEMBER_BYTES)
    assert ustar.declared_size(largest) == limits.MEMBER_BYTES == 8 * 2**30 - 1
    with pytest.raises(BundleError, match="limit"):
        ustar.header("a", limits.MEMBER_BYTES + 1)
    with pytest.raises(BundleError, match="a path takes 1 to 100 bytes"):
        ustar.header("a" * 101, 0)


def test_staging_is_private_and_so_are_its_files(tmp_path: Path) -> None:
    (tmp_path / "a.kedge").write_bytes(making.pack(making.files()))
    with verify.opened(tmp_path / "a.kedge") as bundle:
        for path in (bundle.directory, *bundle.directory.rglob("*")):
            assert path.stat().st_mode & 0o077 == 0


def test_a_name_that_stands_in_staging_already_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a.kedge").write_bytes(making.pack(making.files()))
    outside = tmp_path / "outside"
    for name, target in (("bundle.json", outside), ("config", tmp_path)):
        staging = tmp_path / f"staging-{name}"
        staging.mkdir()
        (staging / name).symlink_to(target)
        with pytest.raises(BundleError, match="cannot be written"):
            verify.extract(tmp_path / "a.kedge", staging)
    assert not outside.exists()
    assert not (tmp_path / "serving.json").exists()
