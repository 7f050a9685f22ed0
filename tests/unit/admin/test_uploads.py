"""Archives in pieces: resumed, bounded, and never a path from a request."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kedge.admin import uploads
from kedge.admin.uploads import AGE, CHUNK_BYTES, MOST, OF_ONE_CALLER, RESERVE_BYTES, Uploads
from kedge.errors import BundleError, Code, RequestError
from kedge.rollout.state import StateError

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = bytes(range(256)) * 16
DIGEST = hashlib.sha256(DATA).hexdigest()
ROOM = 1 << 40


class Kept:
    """Stands for the store: keeps what it is given."""

    def __init__(self) -> None:
        self.archives: list[bytes] = []
        self.beside: list[list[bytes]] = []

    def __call__(self, path: Path) -> Any:
        self.archives.append(path.read_bytes())
        self.beside.append([one.read_bytes() for one in sorted(path.parent.glob(f"{path.name}.*.dsse.json"))])
        return "bundle"


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Uploads]:
    def make(now: float | None = None, free: int = ROOM) -> Uploads:
        return Uploads(tmp_path, lambda: now or tmp_path.stat().st_mtime, lambda _: free)

    return make


def send(files: Uploads, owner: str, data: bytes = DATA, step: int = 1000) -> int:
    """Send all that is missing of an upload, but do not finish it."""
    with files.begin(owner, hashlib.sha256(data).hexdigest(), len(data)) as upload:
        while upload.offset < len(data):
            upload.write(upload.offset, data[upload.offset : upload.offset + step])
        return upload.offset


def test_an_upload_that_broke_off_goes_on_where_it_was_after_a_restart_too(made: Any, tmp_path: Path) -> None:
    files, kept = made(), Kept()
    with files.begin("eve", DIGEST, len(DATA)) as upload:
        upload.write(0, DATA[:1000])
    files = made()
    assert files.offset("eve", DIGEST) == 1000
    with files.begin("eve", DIGEST, len(DATA)) as upload:
        upload.write(1000, DATA[1000:])
        assert upload.finish([b"one", b"two"], kept) == "bundle"
    assert kept.archives == [DATA]
    assert sorted(kept.beside[0]) == [b"one", b"two"]
    assert files.offset("eve", DIGEST) == 0
    assert list((tmp_path / uploads.DIRECTORY).iterdir()) == []


def test_callers_do_not_write_into_each_others(made: Any) -> None:
    files = made()
    send(files, "eve")
    assert files.offset("bob", DIGEST) == 0
    with files.begin("bob", DIGEST, len(DATA)) as upload:
        assert upload.offset == 0
    assert files.offset("eve", DIGEST) == len(DATA)


@pytest.mark.parametrize(
    ("offset", "data", "words"),
    [
        (0, b"x", "a chunk at offset 0, expected 1000"),
        (1001, b"x", "a chunk at offset 1001, expected 1000"),
        (1000, b"", "a chunk of 0 bytes"),
        (1000, bytes(CHUNK_BYTES + 1), f"a chunk of {CHUNK_BYTES + 1} bytes"),
        (1000, bytes(len(DATA)), f"more than the {len(DATA)} bytes"),
    ],
)
def test_a_chunk_that_is_not_the_next_is_refused_and_the_rest_stays(
    made: Any, offset: int, data: bytes, words: str
) -> None:
    files = made()
    with files.begin("eve", DIGEST, len(DATA)) as upload:
        upload.write(0, DATA[:1000])
        with pytest.raises(RequestError, match=words) as refused:
            upload.write(offset, data)
    assert refused.value.code is Code.INVALID_ARGUMENT
    assert files.offset("eve", DIGEST) == 1000


def test_what_is_not_complete_stays_and_what_is_wrong_goes(made: Any) -> None:
    files, kept = made(), Kept()
    with files.begin("eve", DIGEST, len(DATA)) as upload:
        upload.write(0, DATA[:1000])
        with pytest.raises(RequestError, match=f"1000 of {len(DATA)} bytes have arrived"):
            upload.finish([], kept)
    assert files.offset("eve", DIGEST) == 1000
    with files.begin("eve", DIGEST, len(DATA)) as upload:
        upload.write(1000, bytes(len(DATA) - 1000))
        with pytest.raises(RequestError, match="the header announced"):
            upload.finish([], kept)
    assert files.offset("eve", DIGEST) == 0
    assert kept.archives == []


def test_a_refused_archive_is_gone(made: Any) -> None:
    def refuse(path: Path) -> Any:
        raise BundleError("no bundle")

    files = made()
    send(files, "eve")
    with files.begin("eve", DIGEST, len(DATA)) as upload, pytest.raises(BundleError):
        upload.finish([], refuse)
    assert files.offset("eve", DIGEST) == 0


def test_another_size_than_before_begins_anew(made: Any) -> None:
    files = made()
    send(files, "eve")
    with pytest.raises(RequestError, match="they are gone, send it"), files.begin("eve", DIGEST, 10):
        pass
    assert files.offset("eve", DIGEST) == 0


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", DIGEST.upper(), DIGEST + "0", "é" * 64, DIGEST[:-1] + "\n"])
def test_a_digest_that_is_none_is_refused(made: Any, digest: str) -> None:
    files = made()
    with pytest.raises(RequestError, match="64 lower-case hex digits"), files.begin("eve", digest, 10):
        pass
    with pytest.raises(RequestError, match="64 lower-case hex digits"):
        files.offset("eve", digest)


@pytest.mark.parametrize("size", [0, 64 * 1024**3 + 1])
def test_a_size_that_cannot_be_is_refused(made: Any, size: int) -> None:
    with pytest.raises(RequestError, match=f"an archive of {size} bytes"), made().begin("eve", DIGEST, size):
        pass


def test_one_call_at_a_time_writes_an_upload(made: Any) -> None:
    files = made()
    with files.begin("eve", DIGEST, len(DATA)) as upload:
        upload.write(0, DATA[:10])
        with pytest.raises(RequestError, match="under way in another call") as refused, files.begin("eve", DIGEST, 10):
            pass
        assert refused.value.code is Code.FAILED_PRECONDITION
        with pytest.raises(RequestError, match="under way in another call"):
            files.offset("eve", DIGEST)  # it is about to change
        upload.write(10, DATA[10:20])
    assert files.offset("eve", DIGEST) == 20


def test_uploads_are_bounded_in_number_and_old_ones_make_room(made: Any, tmp_path: Path) -> None:
    files = made()
    for index in range(MOST):
        send(files, f"caller {index}")
    with pytest.raises(RequestError, match=f"{MOST} uploads are unfinished") as refused:
        send(files, "one more")
    assert refused.value.code is Code.RESOURCE_EXHAUSTED
    assert send(files, "caller 3") == len(DATA), "going on with one is no new one"
    one = next((tmp_path / uploads.DIRECTORY).iterdir()) / uploads.ARCHIVE
    os.utime(one, (0, one.stat().st_mtime - AGE - 10))
    assert send(files, "one more") == len(DATA)


def test_one_caller_does_not_keep_all_others_out(made: Any) -> None:
    def begin(owner: str, number: int) -> None:
        with files.begin(owner, f"{number:064x}", 1):
            pass

    files = made()
    for number in range(OF_ONE_CALLER):
        begin("eve", number)
    with pytest.raises(RequestError, match=f"{OF_ONE_CALLER} uploads of this caller are unfinished") as refused:
        begin("eve", OF_ONE_CALLER)
    assert refused.value.code is Code.RESOURCE_EXHAUSTED
    begin("eve", 0)
    begin("bob", 0)


def test_what_nobody_went_on_with_for_a_day_is_gone_at_the_next_start(made: Any, tmp_path: Path) -> None:
    send(made(), "eve")
    made(now=tmp_path.stat().st_mtime + AGE + 60)
    assert list((tmp_path / uploads.DIRECTORY).iterdir()) == []


def test_an_upload_that_would_not_fit_is_refused_before_it_begins(made: Any) -> None:
    tight = made(free=RESERVE_BYTES + 3 * len(DATA))
    with tight.begin("eve", DIGEST, len(DATA)), pytest.raises(RequestError, match="no room for this upload") as refused:
        send(tight, "bob")  # what is promised to eve counts
    assert refused.value.code is Code.RESOURCE_EXHAUSTED
    assert send(tight, "bob") == len(DATA)


def test_a_full_disk_gives_back_what_the_upload_took(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    files = made()

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with files.begin("eve", DIGEST, len(DATA)) as upload:
        upload.write(0, DATA[:10])
        monkeypatch.setattr(uploads.os, "pwrite", full)
        with pytest.raises(RequestError, match="disk is full") as refused:
            upload.write(10, DATA[10:])
    assert refused.value.code is Code.RESOURCE_EXHAUSTED
    assert files.offset("eve", DIGEST) == 0


def test_attestations_are_bounded() -> None:
    uploads.check_attestations([b"x"] * 16)
    with pytest.raises(RequestError, match="17 attestations"):
        uploads.check_attestations([b"x"] * 17)
    with pytest.raises(RequestError, match="1 attestations"):
        uploads.check_attestations([bytes(512 * 1024 + 1)])


def test_a_state_directory_without_room_for_uploads_is_named(tmp_path: Path) -> None:
    (tmp_path / uploads.DIRECTORY).write_text("a file")
    with pytest.raises(StateError, match="cannot make"):
        Uploads(tmp_path, lambda: 0.0)


@given(cuts=st.lists(st.integers(1, len(DATA) - 1), max_size=6), step=st.integers(1, len(DATA)))
@settings(max_examples=30, deadline=None)
def test_however_it_is_cut_what_arrives_is_what_was_sent(cuts: list[int], step: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        state, kept = Path(name), Kept()
        for cut in [*sorted(cuts), len(DATA)]:  # a new server after each interruption
            files = Uploads(state, lambda: 0.0, lambda _: ROOM)
            with files.begin("eve", DIGEST, len(DATA)) as upload:
                while upload.offset < cut:
                    upload.write(upload.offset, DATA[upload.offset : min(cut, upload.offset + step)])
                if cut == len(DATA):
                    upload.finish([], kept)
        assert kept.archives == [DATA]
