"""The store holds whole bundles or none, whatever happens while one is added."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import making
import pytest

from kedge.bundle.store import BundleNotFoundError, Store
from kedge.errors import BundleConflictError, BundleError

if TYPE_CHECKING:
    from pathlib import Path

    from kedge.bundle.contents import Bundle


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "state" / "store")


def archive_of(directory: Path, name: str = "flights", version: str = "1.0.0", purpose: str = "") -> Path:
    path = directory / f"{name}-{version}-{purpose}.kedge"
    path.write_bytes(making.pack(making.files(), name=name, version=version, purpose=purpose))
    return path


def test_a_bundle_is_found_by_id_prefix_and_name(store: Store, tmp_path: Path) -> None:
    bundle = store.add(archive_of(tmp_path))
    assert bundle.directory == store.root / "sha256" / bundle.id
    for reference in (bundle.id, bundle.id[:8], "flights-1.0.0"):
        assert store.get(reference) == bundle
    assert store.find("flights", "1.0.0") == bundle
    assert store.find("flights", "2") is None
    assert [(entry.id, entry.name, entry.version) for entry in store.list()] == [(bundle.id, "flights", "1.0.0")]
    assert store.verify_stored(bundle.id) == bundle


@pytest.mark.parametrize(
    "reference",
    ["", "..", "../staging", "/etc", "flights", "flights-2", "0" * 7, "0" * 64, "sha256", "0" * 8 + "/..", "*"],
)
def test_names_never_become_paths(store: Store, tmp_path: Path, reference: str) -> None:
    store.add(archive_of(tmp_path))
    for ask in (store.get, store.delete, store.verify_stored):
        with pytest.raises(BundleNotFoundError):
            ask(reference)
    assert len(store.list()) == 1


def test_a_prefix_shorter_than_eight_digits_is_no_reference(store: Store, tmp_path: Path) -> None:
    bundle = store.add(archive_of(tmp_path))
    with pytest.raises(BundleNotFoundError):
        store.get(bundle.id[:7])


def test_adding_twice_changes_nothing(store: Store, tmp_path: Path) -> None:
    path = archive_of(tmp_path)
    first = store.add(path)
    inode = first.directory.stat().st_ino
    assert store.add(path) == first
    assert first.directory.stat().st_ino == inode
    assert everything_else(store) == ["lock", "sha256", "staging"]


def test_the_same_name_and_version_with_another_id_is_refused(store: Store, tmp_path: Path) -> None:
    first = store.add(archive_of(tmp_path))
    with pytest.raises(BundleConflictError, match=f"flights 1.0.0 is in the store as {first.id[:12]}"):
        store.add(archive_of(tmp_path, purpose="other"))
    assert [entry.id for entry in store.list()] == [first.id]
    assert everything_else(store) == ["lock", "sha256", "staging"]
    store.add(archive_of(tmp_path, version="1.0.1", purpose="other"))
    assert [entry.version for entry in store.list()] == ["1.0.0", "1.0.1"]


def test_an_ambiguous_name_is_said_to_be(store: Store, tmp_path: Path) -> None:
    store.add(archive_of(tmp_path, "a", "b-c"))
    store.add(archive_of(tmp_path, "a-b", "c"))
    with pytest.raises(BundleError, match="ambiguous"):
        store.get("a-b-c")


def test_a_refused_archive_leaves_the_store_as_it_was(store: Store, tmp_path: Path) -> None:
    path = archive_of(tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BundleError):
        store.add(path)
    assert store.list() == ()
    assert everything_else(store) == ["lock", "sha256", "staging"]


def test_deleting_removes_every_trace(store: Store, tmp_path: Path) -> None:
    bundle = store.add(archive_of(tmp_path))
    store.delete(bundle.id)
    assert store.list() == ()
    assert everything_else(store) == ["lock", "sha256", "staging"]
    with pytest.raises(BundleNotFoundError):
        store.delete(bundle.id)


def test_damage_in_the_store_is_found_and_named(store: Store, tmp_path: Path) -> None:
    bundle = store.add(archive_of(tmp_path))
    model = bundle.model_path.read_bytes()
    for name, spoil in (
        ("model/model.onnx", lambda: bundle.model_path.write_bytes(model[:-1] + b"\xff")),
        ("model/model.onnx", lambda: bundle.model_path.write_bytes(model + b"\0")),
        ("model/model.onnx", bundle.model_path.unlink),
        ("model/model.onnx", lambda: bundle.model_path.symlink_to("/dev/zero")),
        ("model/stray", lambda: [replace(bundle.model_path, model), (bundle.directory / "model/stray").touch()]),
        ("eval/gates.json", lambda: (bundle.directory / "eval/gates.json").write_text("{}")),
    ):
        spoil()
        with pytest.raises(BundleError, match=name):
            store.verify_stored(bundle.id)
    replace(bundle.directory / "bundle.json", making.canonical.encode(making.manifest(making.files(), version="9")))
    with pytest.raises(BundleError, match="not the id it is stored under"):
        store.verify_stored(bundle.id)
    assert store.list() == ()
    assert store.damaged() == (bundle.id,)
    with pytest.raises(BundleError, match="is damaged; delete it"):
        store.get(bundle.id)
    store.delete(bundle.id)
    assert store.damaged() == ()


def replace(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def test_what_is_not_a_bundle_is_ignored(store: Store, tmp_path: Path) -> None:
    bundle = store.add(archive_of(tmp_path))
    (store.root / "sha256" / f"{bundle.id}.att").mkdir()
    (store.root / "sha256" / "README").touch()
    assert [entry.id for entry in store.list()] == [bundle.id]


def test_a_store_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BundleError, match=r"cannot use .* as bundle store"):
        Store(tmp_path / "file" / "store")


def test_concurrent_adds_of_one_bundle_and_of_rivals(store: Store, tmp_path: Path) -> None:
    same = archive_of(tmp_path)
    rivals = [archive_of(tmp_path, "rival", "1", str(i)) for i in range(4)]

    def add(path: Path) -> Bundle | BundleConflictError:
        try:
            return Store(store.root).add(path)
        except BundleConflictError as error:
            return error

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(add, [same] * 8 + rivals * 2))
    assert len({getattr(result, "id", None) for result in results[:8]}) == 1
    winners = {result.id for result in results[8:] if not isinstance(result, BundleConflictError)}
    assert len(winners) == 1
    assert {entry.name for entry in store.list()} == {"flights", "rival"}
    assert everything_else(store) == ["lock", "sha256", "staging"]


ADD = """
import sys
from pathlib import Path
from kedge.bundle.store import Store

root = Path(sys.argv[1])

def halt(_):
    if list(root.glob("staging/*/model/*")):
        print("under way", flush=True)
        sys.stdin.read()

Store(root).add(Path(sys.argv[2]), halt)
"""
"""Adds, and stops for good once a file of the model is there."""


def test_a_process_killed_while_adding_leaves_only_what_the_next_start_sweeps(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "large.kedge"
    weights = bytes(1 << 20)
    external = {"location": "w.bin", "length": "16"}
    path.write_bytes(making.pack({**making.files(model_=making.model(external=external)), "model/w.bin": weights}))
    staging = store.root / "staging"
    with subprocess.Popen(
        [sys.executable, "-c", ADD, store.root, path],
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        assert child.stdout is not None
        assert child.stdout.readline() == "under way\n"
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
    assert store.list() == ()
    assert len(list(staging.iterdir())) == 1
    again = Store(store.root)
    assert list(staging.iterdir()) == []
    assert again.list() == ()
    assert again.verify_stored(again.add(path).id).name == "flights"


def test_a_start_does_not_sweep_what_a_living_process_is_adding(store: Store) -> None:
    staging = store.root / "staging" / "alive"
    staging.mkdir()
    descriptor = os.open(staging, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    Store(store.root)
    assert staging.exists()
    os.close(descriptor)
    Store(store.root)
    assert not staging.exists()


def everything_else(store: Store) -> list[str]:
    """What stands in the store besides bundles: its fixed names, and nothing below staging."""
    assert list((store.root / "staging").iterdir()) == []
    return sorted(path.name for path in store.root.iterdir())
