"""Uploads over the wire: whole, broken off and gone on with, refused."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import shutil
import socket
import threading
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from kedge_testing import flights
from kedge_testing.serving import eventually

from kedge.admin import bundles
from kedge.admin.bundles import OF_ONE_CALLER
from kedge.admin.handlers import Places
from kedge.admin.uploads import Upload, Uploads
from kedge.audit.record import SYSTEM, Draft
from kedge.client import AdminClient, AsyncAdminClient, admin_port
from kedge.client.admin_port import gather
from kedge.client.calls import ADMIN
from kedge.errors import Code, RequestError
from kedge.proto import admin as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kedge_testing.admins import Port

    from kedge.bundle.contents import Bundle


def header(data: bytes, **fields: Any) -> pb.UploadBundleRequest:
    said = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest(), **fields}
    return pb.UploadBundleRequest(header=pb.UploadHeader(**said))


def chunk(offset: int, data: bytes) -> pb.UploadBundleRequest:
    return pb.UploadBundleRequest(chunk=pb.UploadChunk(offset=offset, data=data))


def send(port: Port, messages: Any, timeout: float | None = 20) -> pb.UploadBundleResponse:
    with grpc.insecure_channel(port.server.address) as channel:
        answer: pb.UploadBundleResponse = gather(channel, ADMIN + "UploadBundle", pb.UploadBundleResponse)(
            iter(messages), timeout=timeout
        )
        return answer


def test_an_archive_arrives_and_is_listed_recorded_and_told(port: Port, archive: Callable[[], Path]) -> None:
    told: list[int] = []
    with port.client() as client:
        sent = client.upload(archive(), reason="first one", advance=told.append)
        assert (sent.name, sent.version, sent.state) == ("flights", "1.0.0", "")
        assert sum(told) == archive().stat().st_size
        (listed,) = client.bundles("flights").bundles
        assert listed == sent
        assert client.bundles("trains").bundles == []
        got = client.bundle("flights-1.0.0")
        assert hashlib.sha256(got.manifest).hexdigest() == got.bundle.id == sent.id
        assert client.upload(archive()).id == sent.id, "again changes nothing"
    draft = port.drafts[0]
    assert (draft.action, draft.bundle, draft.model, draft.rationale) == (
        "bundle.uploaded",
        sent.id,
        "flights",
        "first one",
    )
    assert draft.details["archive_sha256"] == hashlib.sha256(archive().read_bytes()).hexdigest()


@pytest.fixture
def cut(port: Port) -> Iterator[Callable[[int], str]]:
    """A way to the port whose first connection is cut after so many bytes, once some are on disk: its address."""
    with contextlib.ExitStack() as parts:

        def make(after: int) -> str:
            listener = parts.enter_context(socket.create_server(("127.0.0.1", 0)))
            kept = port.parts.state / "uploads"
            threading.Thread(target=_relay, args=(listener, port.server.address, after, kept), daemon=True).start()
            return f"127.0.0.1:{listener.getsockname()[1]}"

        yield make


def _relay(listener: socket.socket, to: str, after: int, kept: Path) -> None:
    host, _, number = to.rpartition(":")
    left: float = after
    with contextlib.suppress(OSError):  # the listener is closed at the end of the test
        while True:
            near, _ = listener.accept()
            far = socket.create_connection((host, int(number)))
            threading.Thread(target=_pump, args=(far, near, float("inf"), kept), daemon=True).start()
            threading.Thread(target=_pump, args=(near, far, left, kept), daemon=True).start()
            left = float("inf")


def _pump(source: socket.socket, target: socket.socket, left: float, kept: Path) -> None:
    with source, target, contextlib.suppress(OSError):
        while left > 0 and (data := source.recv(4096)):
            target.sendall(data)
            left -= len(data)
        if left <= 0:
            eventually(lambda: any(path.stat().st_size for path in kept.rglob("archive.kedge")))


def test_an_upload_whose_connection_breaks_goes_on_where_it_was(
    port: Port, archive: Callable[[], Path], cut: Callable[[int], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _soon_and_often(monkeypatch)
    size = archive().stat().st_size
    told: list[int] = []
    offsets: list[int] = []
    real = admin_port.Source.messages

    def seen(source: Any, offset: int) -> Any:
        offsets.append(offset)
        return real(source, offset)

    monkeypatch.setattr(admin_port.Source, "messages", seen)
    with AdminClient(cut(size // 2), timeout=20) as client:
        assert client.upload(archive(), advance=told.append).version == "1.0.0"
    assert sum(told) == size
    assert offsets[0] == 0
    assert 0 < offsets[-1] < size, "what had arrived was not sent again"


def test_what_a_broken_call_still_writes_is_not_sent_again(
    port: Port, archive: Callable[[], Path], cut: Callable[[int], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _soon_and_often(monkeypatch)
    writing, go = threading.Event(), threading.Event()
    write, ask = Upload.write, Uploads.offset

    def held(upload: Upload, offset: int, data: bytes) -> None:
        if offset == 2048:
            writing.set()
            assert go.wait(30)
        write(upload, offset, data)

    def asked(files: Uploads, owner: str, digest: str) -> int:
        try:
            return ask(files, owner, digest)
        finally:
            if writing.is_set():
                go.set()  # the call before ends between this answer and what the client does with it
                eventually(lambda: not files._active)

    monkeypatch.setattr(Upload, "write", held)
    monkeypatch.setattr(Uploads, "offset", asked)
    with AdminClient(cut(archive().stat().st_size // 2), timeout=20) as client:
        assert client.upload(archive()).version == "1.0.0"
    assert writing.is_set()


def _soon_and_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small pieces; a client tries again soon, and for half a minute where the server is slow to see a break."""
    monkeypatch.setattr(admin_port, "CHUNK_BYTES", 1024)
    monkeypatch.setattr(admin_port, "PAUSE", 0.01)
    monkeypatch.setattr(admin_port, "RETRIES", 11)


def test_a_client_that_goes_away_leaves_what_it_sent(port: Port, archive: Callable[[], Path]) -> None:
    data = archive().read_bytes()
    half = len(data) // 2
    sent, gone = threading.Event(), threading.Event()

    def messages() -> Iterator[pb.UploadBundleRequest]:
        yield header(data)
        yield chunk(0, data[:half])
        sent.set()
        gone.wait(20)

    uploads = port.parts.state / "uploads"
    with grpc.insecure_channel(port.server.address) as channel:
        call = gather(channel, ADMIN + "UploadBundle", pb.UploadBundleResponse).future(messages())
        assert sent.wait(20)
        eventually(lambda: [one.stat().st_size for one in uploads.glob("*/archive.kedge")] == [half])
        with pytest.raises(grpc.RpcError, match="under way in another call"):
            send(port, [header(data), chunk(half, data[half:])])
        call.cancel()
        gone.set()
    told: list[int] = []
    with port.client() as client:
        eventually(lambda: _resumes(client, archive(), told))
    assert told[0] == half


def _resumes(client: AdminClient, path: Path, told: list[int]) -> bool:
    """Upload once the server has seen that the client before is gone."""
    try:
        client.upload(path, advance=told.append)
    except RequestError as error:
        if error.code is Code.FAILED_PRECONDITION:
            told.clear()
            return False
        raise
    return True


def test_the_asynchronous_client_uploads_too(port: Port, archive: Callable[[], Path]) -> None:
    async def run() -> str:
        async with AsyncAdminClient(port.server.address) as client:
            return (await client.upload(archive())).version

    assert asyncio.run(run()) == "1.0.0"


def test_signatures_beside_an_archive_come_along(port: Port, archive: Callable[[], Path], tmp_path: Path) -> None:
    copy = tmp_path / "flights.kedge"
    shutil.copy(archive(), copy)
    (tmp_path / "flights.kedge.builder-1.dsse.json").write_bytes(b"{}")
    seen: list[list[bytes]] = []

    def admit(path: Path) -> Any:
        seen.append([one.read_bytes() for one in path.parent.glob("archive.kedge.*.dsse.json")])
        return port.store.add(path)

    port.admit = admit
    with port.client() as client:
        client.upload(copy)
    assert seen == [[b"{}"]]


DATA = b"no archive at all" * 100


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([], "begins with its header"),
        ([chunk(0, b"x")], "begins with its header"),
        ([header(DATA), header(DATA)], "after the header come chunks"),
        ([header(DATA), pb.UploadBundleRequest()], "after the header come chunks"),
        ([header(DATA), chunk(7, b"x")], "a chunk at offset 7, expected 0"),
        ([header(DATA, size=10), chunk(0, DATA)], "more than the 10 bytes"),
        ([header(DATA[2:]), chunk(0, DATA[:100])], f"100 of {len(DATA) - 2} bytes have arrived"),
        ([header(DATA, size=64 * 1024**3 + 1)], "it must be 1 to"),
        ([header(DATA, sha256="../../../etc/passwd")], "64 lower-case hex digits"),
        ([header(DATA, sha256="0" * 64), chunk(0, DATA)], "the header announced 0000"),
        ([header(DATA, reason="a\x1b[31m")], "a reason is one line"),
        ([header(DATA, attestations=[b"x"] * 17)], "17 attestations"),
        ([header(DATA[1:]), chunk(0, DATA[1:])], r"archive\.kedge: "),
    ],
)
def test_what_is_wrong_is_refused_and_nothing_is_kept(idle: Port, messages: list[Any], words: str) -> None:
    with pytest.raises(grpc.RpcError, match=words) as refused:
        send(idle, messages)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert idle.store.list() == ()


def test_a_message_larger_than_the_port_takes_is_refused(port: Port) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        send(port, [header(DATA), chunk(0, bytes(2 * 1024 * 1024))])
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_another_bundle_of_the_same_version_is_refused(port: Port, archive: Callable[[], Path], tmp_path: Path) -> None:
    other = flights.bundle(tmp_path, version="1.0.0", bias=0.5)
    with port.client() as client:
        client.upload(archive())
        with pytest.raises(RequestError, match="give it another version") as refused:
            client.upload(other)
    assert refused.value.code is Code.ALREADY_EXISTS


def test_what_cannot_be_recorded_does_not_come_in(port: Port, archive: Callable[[], Path]) -> None:
    port.fail = RequestError(Code.FAILED_PRECONDITION, "the log is full")
    with port.client() as client, pytest.raises(RequestError, match="the log is full"):
        client.upload(archive())
    assert port.store.list() == ()


def test_what_another_caller_recorded_meanwhile_stays(port: Port, archive: Callable[[], Path]) -> None:
    parts = port.parts
    admit = port.admit

    def twice(path: Path) -> Bundle:
        bundle = admit(path)
        parts.rollouts.received(Draft(action="bundle.uploaded", actor=SYSTEM, model=bundle.name, bundle=bundle.id))
        return bundle

    port.admit = twice
    port.fail = RequestError(Code.FAILED_PRECONDITION, "the log is full")
    with port.client() as client, pytest.raises(RequestError, match="the log is full"):
        client.upload(archive())
    assert [entry.name for entry in port.store.list()] == ["flights"]


def test_a_file_that_is_not_there_is_said(port: Port, tmp_path: Path) -> None:
    with port.client() as client, pytest.raises(FileNotFoundError):
        client.upload(tmp_path / "none.kedge")


def test_the_manifest_of_a_bundle_is_its_json(port: Port, archive: Callable[[], Path]) -> None:
    with port.client() as client:
        client.upload(archive())
        manifest = json.loads(client.bundle("flights-1.0.0").manifest)
    assert (manifest["name"], manifest["version"]) == ("flights", "1.0.0")


def test_uploads_at_a_time_are_bounded_and_a_silent_one_counts(port: Port) -> None:
    done = threading.Event()

    def silent() -> Iterator[pb.UploadBundleRequest]:
        done.wait(30)
        yield header(DATA)

    with grpc.insecure_channel(port.server.address) as channel:
        method = gather(channel, ADMIN + "UploadBundle", pb.UploadBundleResponse)
        calls = [method.future(silent()) for _ in range(OF_ONE_CALLER)]

        def full() -> bool:
            # The question takes a place for a moment: a silent call that found none then tries again.
            calls[:] = [method.future(silent()) if call.done() else call for call in calls]
            return _refused(port) is grpc.StatusCode.RESOURCE_EXHAUSTED

        eventually(full, every=0.1)
        with port.client() as client:
            assert client.status().ready, "questions have threads of their own"
        done.set()
        for call in calls:
            call.cancel()


def test_a_silent_uploader_loses_its_place_and_goes_on_where_it_was(
    port: Port, archive: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, silence = archive().read_bytes(), threading.Event()

    def half() -> Iterator[pb.UploadBundleRequest]:
        yield header(data)
        yield chunk(0, data[:1000])
        silence.wait(60)

    try:
        with monkeypatch.context() as hasty:
            hasty.setattr(bundles, "IDLE_SECONDS", 0.2)
            with pytest.raises(grpc.RpcError) as ended:
                send(port, half())
        assert ended.value.code() is grpc.StatusCode.CANCELLED
    finally:
        silence.set()
    with port.client() as client:
        eventually(lambda: _resumes(client, archive(), []))  # the caller hears of the end before the place is free
    assert [entry.name for entry in port.store.list()] == ["flights"]


def test_one_caller_leaves_room_for_another() -> None:
    places = Places(4, "uploads are under way", 3)
    with contextlib.ExitStack() as held:
        for _ in range(3):
            held.enter_context(places.one("ann"))
        with pytest.raises(RequestError, match="3 uploads are under way by this caller already"), places.one("ann"):
            pass
        held.enter_context(places.one("bob"))
        with pytest.raises(RequestError, match="4 uploads are under way already"), places.one("eve"):
            pass
    with places.one("ann"):
        pass


def _refused(port: Port) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as refused:
        send(port, [])
    code: grpc.StatusCode = refused.value.code()
    return code
