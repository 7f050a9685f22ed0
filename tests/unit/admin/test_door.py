"""The door of a real port: TLS, tokens, certificates, sockets, and what a refused command leaves behind."""

from __future__ import annotations

import os
import pwd
import socket
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from kedge_testing import admins
from kedge_testing.serving import eventually

from kedge.admin import handlers, refusals, service, tokens
from kedge.admin.access import METHODS, Access, DeniedError, local_actor
from kedge.admin.service import CONNECTIONS, STREAMS, THREADS, AdminServer
from kedge.app_limits import OWN_FILES
from kedge.client import AdminClient, Credentials
from kedge.client.calls import UnreachableError
from kedge.config import Address
from kedge.errors import Code, ConfigError, RequestError
from kedge.metrics.server import MAX_CONNECTIONS
from kedge.plane.contract import Tls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kedge_testing.admins import Port

LOCAL = local_actor(unix=False)
CALLERS = {"vera": "viewer", "otto": "operator", "dora": "deployer", "ada": "admin"}


class Secured:
    """A port with TLS and tokens, and the files that its callers have."""

    def __init__(self, root: Path, parts: ExitStack, *, mutual: bool) -> None:
        self.root = root
        self.authority = admins.Authority()
        self.ca = self._file("ca.pem", self.authority.pem)
        self.tokens = {name: tokens.new(root / "tokens", name, role) for name, role in CALLERS.items()}
        tls = Tls(*self.authority.pair("kedge"), self.authority.pem if mutual else None)
        certificates: Any = {"ci": "deployer"} if mutual else None
        access = Access(tokens=root / "tokens", certificates=certificates, local=LOCAL)
        self.port: Port = parts.enter_context(admins.listening(root / "state", access=access, tls=tls))

    def certificate(self, name: str, authority: admins.Authority | None = None, days: int = 1) -> dict[str, Path]:
        certificate, key = (authority or self.authority).pair(name, days=days)
        return {"certificate": self._file("client.pem", certificate), "key": self._file("client.key", key)}

    def _file(self, name: str, data: bytes) -> Path:
        path = self.root / name
        path.write_bytes(data)
        return path


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Secured]:
    with ExitStack() as parts:
        yield Secured(tmp_path, parts, mutual=False)


@pytest.fixture
def mutual(tmp_path: Path) -> Iterator[Secured]:
    with ExitStack() as parts:
        yield Secured(tmp_path, parts, mutual=True)


def test_each_role_may_what_it_may_over_tls(secured: Secured, archive: Callable[[], Path]) -> None:
    clients = {name: secured.port.client(token=token, ca=secured.ca) for name, token in secured.tokens.items()}
    with ExitStack() as open_:
        for client in clients.values():
            open_.enter_context(client)
        assert clients["vera"].status().ready
        assert clients["vera"].audit.entries().size > 0
        for name in ("vera", "otto"):
            with pytest.raises(RequestError, match=f"QueryUpload needs role 'deployer'; '{name}' is") as refused:
                clients[name].upload(archive())
            assert refused.value.code is Code.PERMISSION_DENIED
        bundle = clients["dora"].upload(archive())
        clients["dora"].deploy(bundle.id, strategy="swap")
        with pytest.raises(RequestError, match="no bundle that was live before it is left"):
            clients["otto"].rollback("flights", reason="try")
        with pytest.raises(RequestError, match="DeleteBundle needs role 'admin'; 'dora' is 'deployer'"):
            clients["dora"].delete(bundle.id, reason="mine")
        with pytest.raises(RequestError, match="live for 'flights'"):
            clients["ada"].delete(bundle.id, reason="mine")
        assert [event.actor for event in clients["vera"].events(once=True)][-1] == "dora"
    denied = [draft for draft in secured.port.drafts if draft.action == refusals.ACTION]
    assert [(draft.actor.name, draft.actor.authenticated_by) for draft in denied] == [
        ("vera", "token"),
        ("otto", "token"),
        ("dora", "token"),
    ]
    assert denied[2].details == {
        "method": "kedge.v1.Admin/DeleteBundle",
        "status": "PERMISSION_DENIED",
        "unrecorded_before": 0,
    }


def test_without_a_known_token_nothing_is_answered(secured: Secured) -> None:
    for token, words in ((None, "send a token"), ("kedge_wrong", "not known here")):
        with secured.port.client(token=token, ca=secured.ca) as client:
            for call in (client.status, client.audit.checkpoint, lambda: next(client.events())):
                with pytest.raises(RequestError, match=words) as refused:
                    call()
                assert refused.value.code is Code.UNAUTHENTICATED
            with pytest.raises(RequestError, match=words):
                client.pause("flights")
    assert [draft.actor.name for draft in secured.port.drafts] == ["unknown", "unknown"], "questions are not recorded"


def test_who_tries_and_tries_fills_no_log(secured: Secured) -> None:
    with secured.port.client(ca=secured.ca) as client:
        for _ in range(refusals.BURST + 5):
            with pytest.raises(RequestError):
                client.pause("flights")
    assert len(secured.port.drafts) == refusals.BURST


def test_the_rate_of_records_comes_back_with_time_and_says_what_it_left_out() -> None:
    drafts: list[Any] = []
    now = [0.0]
    noted = refusals.Refusals(drafts.append, lambda: now[0])
    error = DeniedError(Code.PERMISSION_DENIED, "no", LOCAL)
    for _ in range(refusals.BURST + 7):
        noted.note("kedge.v1.Admin/Pause", error)
    noted.note("kedge.v1.Admin/GetStatus", error)
    assert len(drafts) == refusals.BURST
    now[0] += refusals.EVERY
    for _ in range(2):
        noted.note("kedge.v1.Admin/Pause", error)
    assert len(drafts) == refusals.BURST + 1
    assert drafts[-1].details["unrecorded_before"] == 7


def test_a_refused_call_stays_refused_when_the_log_takes_nothing(secured: Secured) -> None:
    secured.port.fail = RequestError(Code.FAILED_PRECONDITION, "the log is full")
    with secured.port.client(ca=secured.ca) as client, pytest.raises(RequestError, match="send a token"):
        client.pause("flights")


def test_plain_text_does_not_reach_a_port_with_tls(secured: Secured) -> None:
    with AdminClient(secured.port.server.address, timeout=5) as client, pytest.raises(UnreachableError) as failed:
        client.status()
    assert "it may want TLS" in str(failed.value)


def test_a_certificate_of_the_ca_with_a_role_is_enough(mutual: Secured, archive: Callable[[], Path]) -> None:
    with mutual.port.client(ca=mutual.ca, **mutual.certificate("ci")) as client:
        client.upload(archive())
        with pytest.raises(RequestError, match="needs role 'admin'; 'ci' is 'deployer'"):
            client.delete("flights-1.0.0", reason="x")
    assert mutual.port.drafts[0].actor.model_dump() == {"name": "ci", "authenticated_by": "mtls"}
    with mutual.port.client(ca=mutual.ca, token=mutual.tokens["ada"], **mutual.certificate("proxy")) as client:
        assert client.status().ready


def test_a_certificate_without_a_role_is_refused(mutual: Secured) -> None:
    with (
        mutual.port.client(ca=mutual.ca, **mutual.certificate("mallory")) as client,
        pytest.raises(RequestError, match="has no role here") as refused,
    ):
        client.status()
    assert refused.value.code is Code.UNAUTHENTICATED


@pytest.mark.parametrize("kind", ["missing", "expired", "of another authority"])
def test_a_certificate_that_is_not_valid_ends_the_handshake(mutual: Secured, kind: str) -> None:
    given = {
        "missing": lambda: {"token": mutual.tokens["ada"]},
        "expired": lambda: mutual.certificate("ci", days=-1),
        "of another authority": lambda: mutual.certificate("ci", admins.Authority("another")),
    }[kind]()
    with mutual.port.client(ca=mutual.ca, **given) as client, pytest.raises(UnreachableError) as failed:
        client.status()
    assert "a client certificate that its CA signed" in str(failed.value)


def test_a_server_whose_certificate_is_not_the_cas_is_not_talked_to(secured: Secured) -> None:
    other = secured.root / "other.pem"
    other.write_bytes(admins.Authority("another").pem)
    with (
        secured.port.client(ca=other, token=secured.tokens["ada"]) as client,
        pytest.raises(UnreachableError) as failed,
    ):
        client.status()
    assert "is not of the given CA" in str(failed.value)


def test_a_renewed_certificate_is_used_from_the_next_connection_on(secured: Secured) -> None:
    ada = secured.tokens["ada"]
    successor = admins.Authority("successor")
    new_ca = secured.root / "new.pem"
    new_ca.write_bytes(successor.pem)
    with secured.port.client(ca=secured.ca, token=ada) as before:
        assert before.status().ready
        secured.port.server.renew(Tls(*successor.pair("kedge")))
        assert before.status().ready, "a connection that stands is not cut"
    with secured.port.client(ca=new_ca, token=ada) as after:
        assert after.status().ready
    with secured.port.client(ca=secured.ca, token=ada) as late, pytest.raises(UnreachableError):
        late.status()


def test_with_a_second_address_certificates_are_for_those_who_have_them(tmp_path: Path) -> None:
    authority = admins.Authority()
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    certificate, key = authority.pair("ci")
    (tmp_path / "ci.pem").write_bytes(certificate)
    (tmp_path / "ci.key").write_bytes(key)
    token = tokens.new(tmp_path / "tokens", "ada", "admin")
    access = Access(tokens=tmp_path / "tokens", certificates={"ci": "deployer"}, local=LOCAL)
    tls = Tls(*authority.pair("kedge"), authority.pem)
    mutual = Address.parse("127.0.0.1:0")
    with admins.listening(tmp_path / "state", access=access, tls=tls, mutual=mutual) as port:
        with port.client(ca=tmp_path / "ca.pem", token=token) as ada:
            assert ada.status().ready
        with port.client(ca=tmp_path / "ca.pem") as nobody, pytest.raises(RequestError, match="send a token"):
            nobody.status()
        assert port.server.mutual is not None
        ci = Credentials(ca=tmp_path / "ca.pem", certificate=tmp_path / "ci.pem", key=tmp_path / "ci.key")
        with AdminClient(port.server.mutual, timeout=20, credentials=ci) as client:
            assert client.status().ready
        without = Credentials(ca=tmp_path / "ca.pem", token=token)
        with (
            AdminClient(port.server.mutual, timeout=20, credentials=without) as client,
            pytest.raises(UnreachableError),
        ):
            client.status()


def test_tokens_are_taken_in_plain_text_on_this_machine_alone(tmp_path: Path) -> None:
    token = tokens.new(tmp_path / "tokens", "ada", "admin")
    access = Access(tokens=tmp_path / "tokens", local=LOCAL)
    with admins.listening(tmp_path / "state", access=access) as port, port.client(token=token) as client:
        assert client.status().ready
    with pytest.raises(ConfigError, match=r"a token is not sent to 10\.0\.0\.1:8003 in plain text"):
        AdminClient("10.0.0.1:8003", credentials=Credentials(token=token))


def test_whoever_may_open_the_socket_is_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with admins.listening(tmp_path / "state", address=f"unix:{path}") as port, port.client() as client:
        assert path.stat().st_mode & 0o777 == 0o600
        with pytest.raises(RequestError):
            client.delete("none-1", reason="x")
        assert client.status().ready
        with pytest.raises(ConfigError, match="cannot listen on"):
            AdminServer(Address.parse(f"unix:{tmp_path}/none/a.sock"), port.parts, Access(local=LOCAL))
    owner = local_actor(unix=True)
    assert (owner.name, owner.authenticated_by) == (pwd.getpwuid(os.getuid()).pw_name, "unix-user")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"token": "two words"}, "the token is none"),
        ({"token": "a\nb"}, "the token is none"),
        ({"certificate": "c.pem"}, "go together"),
        ({"certificate": "c.pem", "key": "k.pem"}, "needs TLS"),
        ({"ca": "none.pem"}, "cannot read"),
        ({"ca": "text.pem"}, "is not a PEM file"),
    ],
)
def test_credentials_that_cannot_work_are_refused_when_the_client_is_made(
    tmp_path: Path, given: dict[str, str], words: str
) -> None:
    (tmp_path / "text.pem").write_text("hello")
    fields: Any = {name: value if name == "token" else tmp_path / value for name, value in given.items()}
    with pytest.raises(ConfigError, match=words):
        AdminClient("127.0.0.1:1", credentials=Credentials(**fields))


def test_a_pair_that_is_none_is_no_server(tmp_path: Path) -> None:
    one, two = admins.Authority().pair("a"), admins.Authority().pair("b")
    with (
        pytest.raises(ConfigError, match="--admin"),
        admins.listening(tmp_path / "state", tls=Tls(one[0], two[1])),
    ):
        pass


def test_a_method_without_a_role_is_not_served(secured: Secured) -> None:
    with pytest.raises(KeyError, match=r"kedge\.v1\.Admin/Destroy has no role"):
        handlers.service("kedge.v1.Admin", {"Destroy": None}, None, None)  # type: ignore[dict-item,arg-type]
    with (
        grpc.insecure_channel(secured.port.server.address) as channel,
        pytest.raises(grpc.RpcError),
    ):
        channel.unary_unary("/kedge.v1.Admin/Destroy")(b"", timeout=5)


def _send(channel: grpc.Channel, path: str, data: bytes) -> None:
    """Call a method of any kind with these bytes for a request."""
    if path.endswith("UploadBundle"):
        channel.stream_unary(f"/{path}")(iter([data]), timeout=20)
    elif "Watch" in path:
        next(channel.unary_stream(f"/{path}")(data, timeout=20))
    else:
        channel.unary_unary(f"/{path}")(data, timeout=20)


def test_bytes_that_are_no_message_are_refused_behind_the_door(port: Port) -> None:
    with grpc.insecure_channel(port.server.address) as channel:
        for path in METHODS:
            with pytest.raises(grpc.RpcError, match=r"the request is no kedge\.v1\.") as refused:
                _send(channel, path, b"\xff" * 64)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_strangers_learn_nothing_about_their_bytes(secured: Secured) -> None:
    root = (secured.root / "ca.pem").read_bytes()
    with grpc.secure_channel(secured.port.server.address, grpc.ssl_channel_credentials(root)) as channel:
        for path in METHODS:
            with pytest.raises(grpc.RpcError) as refused:
                _send(channel, path, b"\xff" * 64)
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_strangers_who_say_nothing_hold_no_thread(secured: Secured) -> None:
    root = (secured.root / "ca.pem").read_bytes()
    done = threading.Event()

    def silent() -> Iterator[bytes]:
        done.wait(30)
        yield b""

    with grpc.secure_channel(secured.port.server.address, grpc.ssl_channel_credentials(root)) as channel:
        method = channel.stream_unary("/kedge.v1.Admin/GetStatus")
        calls = [method.future(silent()) for _ in range(THREADS + STREAMS + 4)]
        try:
            for call in calls:
                assert call.exception(timeout=20).code() is grpc.StatusCode.UNAUTHENTICATED
            with secured.port.client(token=secured.tokens["vera"], ca=secured.ca) as client:
                assert client.status().ready
        finally:
            done.set()


@pytest.mark.parametrize("name", ["GetStatus", "WatchEvents"])
def test_a_caller_who_never_sends_the_request_gives_the_thread_back(
    port: Port, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(handlers, "REQUEST_SECONDS", 0.2)
    done = threading.Event()

    def silent() -> Iterator[bytes]:
        done.wait(30)
        yield b""

    with grpc.insecure_channel(port.server.address) as channel:
        call = channel.stream_unary(f"/kedge.v1.Admin/{name}").future(silent())
        try:
            assert call.exception(timeout=20).code() is grpc.StatusCode.CANCELLED
        finally:
            done.set()
        with pytest.raises(grpc.RpcError, match="the request is missing") as refused:
            channel.stream_unary(f"/kedge.v1.Admin/{name}")(iter(()), timeout=20)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(("handshake", "ended"), [(600_000, 12), (500, 20)], ids=["too many", "too slow"])
def test_connections_that_say_nothing_are_bounded_and_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, handshake: int, ended: int
) -> None:
    assert 2 * CONNECTIONS + MAX_CONNECTIONS < 0.7 * OWN_FILES, "the state needs files too"
    monkeypatch.setattr(service, "CONNECTIONS", 8)
    monkeypatch.setattr(service, "HANDSHAKE_MS", handshake)
    with admins.listening(tmp_path / "state") as port, ExitStack() as silent:
        host, _, number = port.server.address.rpartition(":")
        ends = [silent.enter_context(socket.create_connection((host, int(number)))) for _ in range(20)]
        eventually(lambda: _ended(ends) == ended)
        if ended == len(ends):
            with port.client() as client:
                assert client.status().ready


def _ended(connections: list[socket.socket]) -> int:
    """How many of these the other side has closed."""
    ended = 0
    for connection in connections:
        connection.setblocking(False)
        try:
            while data := connection.recv(4096):
                pass
            ended += not data
        except BlockingIOError:
            continue
        except ConnectionError:
            ended += 1
    return ended
