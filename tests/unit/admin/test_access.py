"""Who may call what: every method, every role, every way of being known and of not being known."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kedge.admin import tokens
from kedge.admin.access import METHODS, Access, DeniedError, local_actor
from kedge.admin.tokens import ROLES
from kedge.errors import Code, ConfigError
from kedge.proto.pool import POOL

ROOT = Path(__file__).resolve().parents[3]
LOCAL = local_actor(unix=False)
DEPLOY = "kedge.v1.Admin/Deploy"
STATUS = "kedge.v1.Admin/GetStatus"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


def bearer(token: str) -> list[str]:
    return [f"Bearer {token}"]


def test_every_method_of_the_protos_has_a_role() -> None:
    declared = {
        f"{service}/{method}"
        for service in ("kedge.v1.Admin", "kedge.v1.Audit", "kedge.v1.OutcomeReports")
        for method in POOL.FindServiceByName(service).methods_by_name
    }
    assert declared == set(METHODS)


def test_the_proto_says_the_role_of_every_method() -> None:
    text = (ROOT / "protos" / "kedge" / "v1" / "admin.proto").read_text()
    said = re.findall(r"Role: (\w+)\.(?:(?!\brpc\b|Role:)[\s\S])*?rpc (\w+)\(", text)
    roles = {name: role for role, name in said}
    assert {f"kedge.v1.Admin/{name}": role for name, role in roles.items()} == {
        path: rule.role for path, rule in METHODS.items() if path.startswith("kedge.v1.Admin/")
    }
    assert {rule.role for path, rule in METHODS.items() if path.startswith("kedge.v1.Audit/")} == {"viewer"}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_what_those_before_it_may_and_nothing_more(file: Path, role: str) -> None:
    token = tokens.new(file, "eve", role)
    access = Access(tokens=file, local=LOCAL)
    for method, rule in METHODS.items():
        if ROLES.index(role) >= ROLES.index(rule.role):
            caller = access.decide(method, bearer(token), [])
            assert (caller.actor.name, caller.actor.authenticated_by, caller.role) == ("eve", "token", role)
            continue
        with pytest.raises(DeniedError, match=f"needs role '{rule.role}'; 'eve' is '{role}'") as denied:
            access.decide(method, bearer(token), [])
        assert denied.value.code is Code.PERMISSION_DENIED
        assert denied.value.actor.name == "eve"


def test_without_callers_configured_the_machine_itself_is_admin() -> None:
    caller = Access(local=LOCAL).decide(DEPLOY, [], [])
    assert (caller.role, caller.actor.authenticated_by) == ("admin", "none")
    owner = local_actor(unix=True)
    assert owner.authenticated_by == "unix-user"
    assert Access(local=owner).decide(DEPLOY, bearer("ignored"), []).actor == owner


@pytest.mark.parametrize(
    ("authorization", "words"),
    [
        ([], "send a token"),
        (["Basic abc"], "must be one 'Bearer TOKEN'"),
        (["Bearer "], "must be one 'Bearer TOKEN'"),
        (["Bearer a", "Bearer b"], "must be one 'Bearer TOKEN'"),
        (["Bearer kedge_wrong"], "not known here"),
        (["Bearer \udcff\n"], "not known here"),
    ],
)
def test_once_callers_are_configured_nobody_else_is_let_in(file: Path, authorization: list[str], words: str) -> None:
    tokens.new(file, "eve", "admin")
    with pytest.raises(DeniedError, match=words) as denied:
        Access(tokens=file, local=LOCAL).decide(STATUS, authorization, [])
    assert denied.value.code is Code.UNAUTHENTICATED
    assert denied.value.actor.authenticated_by == "none"


def test_a_certificate_has_the_least_role_of_its_names() -> None:
    access = Access(certificates={"ci.example.org": "deployer", "alice": "viewer"}, local=LOCAL)
    assert access.decide(DEPLOY, [], ["other", "ci.example.org"]).actor.name == "ci.example.org"
    assert access.decide(STATUS, [], ["ci.example.org", "alice"]).role == "viewer"
    with pytest.raises(DeniedError, match="the certificate of 'mallory' has no role") as denied:
        access.decide(STATUS, [], ["mallory"])
    assert denied.value.code is Code.UNAUTHENTICATED
    with pytest.raises(DeniedError, match="send a client certificate"):
        access.decide(STATUS, bearer("token of another server"), [])


def test_a_token_speaks_for_its_caller_before_the_certificate_does(file: Path) -> None:
    token = tokens.new(file, "bob", "deployer")
    access = Access(tokens=file, certificates={"proxy": "viewer"}, local=LOCAL)
    assert access.decide(DEPLOY, bearer(token), ["proxy"]).actor.name == "bob"
    assert access.decide(STATUS, [], ["proxy"]).actor.authenticated_by == "mtls"
    with pytest.raises(DeniedError, match="not known"):
        access.decide(STATUS, bearer("kedge_wrong"), ["proxy"])


def test_a_revoked_token_is_refused_from_the_next_call_on_and_a_new_one_known(file: Path) -> None:
    token = tokens.new(file, "eve", "admin")
    access = Access(tokens=file, local=LOCAL)
    access.decide(DEPLOY, bearer(token), [])
    tokens.new(file, "bob", "viewer")
    tokens.revoke(file, "eve")
    with pytest.raises(DeniedError, match="revoked"):
        access.decide(DEPLOY, bearer(token), [])
    again = tokens.new(file, "eve", "viewer")
    assert again != token
    assert access.decide(STATUS, bearer(again), []).role == "viewer"


@pytest.mark.parametrize("harm", ["gone", "open", "torn"])
def test_a_file_that_cannot_be_trusted_any_more_lets_nobody_in(file: Path, harm: str) -> None:
    token = tokens.new(file, "eve", "admin")
    access = Access(tokens=file, local=LOCAL)
    if harm == "gone":
        file.unlink()
    elif harm == "open":
        file.chmod(0o644)
    else:
        file.write_text("eve admin 12")
    for _ in range(2):
        with pytest.raises(DeniedError, match="cannot read its tokens") as denied:
            access.decide(STATUS, bearer(token), [])
        assert denied.value.code is Code.UNAUTHENTICATED


def test_the_file_holds_digests_and_is_its_owners_alone(file: Path) -> None:
    token = tokens.new(file, "eve", "admin")
    assert token.startswith("kedge_")
    assert token not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["tokens"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("eve admin\n", "line 1: expected NAME ROLE SHA256"),
        (f"# all\n\neve root {'a' * 64}\n", "line 3: 'root' is no role; roles are viewer, operator, deployer, admin"),
        (f"eve admin {'a' * 64}\neve viewer {'b' * 64}\n", "line 2: 'eve' has a token already"),
        (f"e\x1bve admin {'a' * 64}\n", "line 1: expected"),
        (f"eve admin {'A' * 64}\n", "line 1: expected"),
    ],
)
def test_a_malformed_line_is_named(file: Path, content: str, words: str) -> None:
    file.write_text(content)
    file.chmod(0o600)
    with pytest.raises(ConfigError, match=words):
        Access(tokens=file, local=LOCAL)


def test_names_that_are_none_or_taken_are_refused(file: Path) -> None:
    tokens.new(file, "eve", "admin")
    with pytest.raises(ConfigError, match="'eve' has a token already; revoke it first"):
        tokens.new(file, "eve", "viewer")
    with pytest.raises(ConfigError, match="is no name of a caller"):
        tokens.new(file, "two words", "viewer")
    with pytest.raises(ConfigError, match="'boss' is no role"):
        tokens.new(file, "bob", "boss")
    with pytest.raises(ConfigError, match="has no token of 'bob'; it has: eve"):
        tokens.revoke(file, "bob")


def test_changes_at_the_same_time_do_not_undo_one_another(file: Path) -> None:
    names = [f"caller-{index}" for index in range(12)]
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda name: tokens.new(file, name, "viewer"), names))
    assert sorted(token.name for token in tokens.read(file)) == sorted(names)


def test_a_place_that_cannot_be_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot use"):
        tokens.new(tmp_path / "none" / "tokens", "eve", "viewer")
    with pytest.raises(ConfigError, match="cannot read the tokens"):
        Access(tokens=tmp_path / "none", local=LOCAL)
