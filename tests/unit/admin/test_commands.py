"""Commands over the wire: what they do, who they say did it, and what is refused with what words."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from kedge.client.calls import ADMIN, method
from kedge.errors import Code, RequestError
from kedge.proto import admin as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kedge_testing.admins import Port

    from kedge.client import AdminClient

SLOW_PLAN = {"strategy": "canary", "steps": [{"share": 0.5, "approval": True}], "baking": None}


@pytest.fixture
def client(port: Port) -> Iterator[AdminClient]:
    with port.client() as client:
        yield client


@pytest.fixture
def both(client: AdminClient, archive: Callable[[str], Path]) -> tuple[str, str]:
    """Version 1.0.0 is live, 2.0.0 is in the store."""
    first, second = (client.upload(archive(version)).id for version in ("1.0.0", "2.0.0"))
    assert client.deploy(first, strategy="swap").bundle == first
    return first, second


def records(port: Port) -> list[dict[str, Any]]:
    with port.client() as client:
        return [json.loads(entry.record) for entry in client.audit.entries(limit=1000).entries]


def test_a_canary_is_begun_promoted_and_taken_back(port: Port, client: AdminClient, both: tuple[str, str]) -> None:
    first, second = both
    begun = client.deploy("flights-2.0.0", plan=SLOW_PLAN, reason="trained to June")
    assert (begun.bundle, begun.rollout.bundle, begun.rollout.state) == (first, second, "CANARY")
    assert (begun.rollout.share, list(begun.rollout.shares), begun.rollout.control) == (0.5, [0.5], first)
    assert set(begun.legal) == {"promote", "pause", "abort", "rollback"}
    assert [one.guard for one in begun.rollout.readings] == [
        one.guard for one in client.status("flights").models[0].rollout.readings
    ]
    paused = client.pause("flights", reason="wait")
    assert (paused.rollout.state, paused.rollout.held, paused.rollout.paused_by) == ("PAUSED", "CANARY", "local")
    assert client.resume("flights").rollout.state == "CANARY"
    live = client.promote("flights", reason="looks good")
    assert (live.bundle, live.rollout.over, live.last_good) == (second, True, first)
    back = client.rollback("flights", reason="late flights missed")
    assert (back.bundle, back.quarantined[0].bundle) == (first, second)
    said = {record["action"]: record for record in records(port) if record.get("bundle") == second}
    assert {record["actor"]["name"] for record in said.values()} >= {"local"}
    assert "trained to June" in json.dumps(records(port))
    assert "late flights missed" in json.dumps(records(port))
    with pytest.raises(RequestError, match="QUARANTINED") as refused:
        client.deploy(second)
    assert refused.value.code is Code.FAILED_PRECONDITION
    assert client.clear_quarantine("flights-2.0.0", reason="mended") == second
    assert client.deploy(second, plan=SLOW_PLAN).rollout.state == "CANARY"
    aborted = client.abort("flights")
    assert (aborted.bundle, aborted.rollout.state, aborted.rollout.over) == (first, "ABORTED", True)


def test_an_illegal_command_says_what_is_legal(client: AdminClient, both: tuple[str, str]) -> None:
    for call in (client.promote, client.pause, client.resume, client.abort):
        with pytest.raises(RequestError, match="legal now: ") as refused:
            call("flights")
        assert refused.value.code is Code.FAILED_PRECONDITION
    with pytest.raises(RequestError, match="no model 'trains'") as unknown:
        client.pause("trains")
    assert unknown.value.code is Code.NOT_FOUND


def test_the_same_key_is_done_once_and_with_another_command_refused(
    port: Port, client: AdminClient, both: tuple[str, str]
) -> None:
    one = client.deploy(both[1], plan=SLOW_PLAN, key="k1")
    before = len(records(port))
    assert client.deploy(both[1], plan=SLOW_PLAN, key="k1") == one
    assert len(records(port)) == before
    with pytest.raises(RequestError, match="used for another command") as refused:
        client.pause("flights", key="k1")
    assert refused.value.code is Code.ALREADY_EXISTS


@pytest.mark.parametrize(
    ("name", "request_", "words"),
    [
        ("Rollback", pb.RollbackRequest(model="flights"), "a rollback needs a reason"),
        (
            "ClearQuarantine",
            pb.ClearQuarantineRequest(reference="a", reason=" "),
            "clearing a quarantine needs a reason",
        ),
        ("DeleteBundle", pb.DeleteBundleRequest(reference="a"), "deleting a bundle needs a reason"),
        ("Pause", pb.CommandRequest(model="flights", reason="a\nb"), "one line of at most 1024"),
        ("Pause", pb.CommandRequest(model="flights", reason="x" * 1025), "one line of at most 1024"),
        ("Pause", pb.CommandRequest(model="flights", idempotency_key="x" * 129), "at most 128 printable"),
        ("Pause", pb.CommandRequest(model="flights", idempotency_key="é"), "at most 128 printable"),
        ("Deploy", pb.DeployRequest(reference="flights-1.0.0", strategy="yolo"), "'yolo' is no strategy; use swap"),
        ("Deploy", pb.DeployRequest(reference="flights-1.0.0", plan="{"), "the plan is not JSON"),
        ("Deploy", pb.DeployRequest(reference="flights-1.0.0", plan="[" * 60_000), "the plan is not JSON"),
        ("Deploy", pb.DeployRequest(reference="flights-1.0.0", plan="[]"), "no JSON object"),
        ("Deploy", pb.DeployRequest(reference="flights-1.0.0", plan=" " * 65_537), "more than 65536 bytes"),
        ("Deploy", pb.DeployRequest(reference="flights-1.0.0", plan='{"stepz": []}'), "stepz"),
    ],
)
def test_bad_input_is_refused_with_the_place(idle: Port, name: str, request_: Any, words: str) -> None:
    with grpc.insecure_channel(idle.server.address) as channel, pytest.raises(grpc.RpcError, match=words) as refused:
        method(channel, ADMIN + name, pb.CommandResponse)(request_, timeout=20)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("reference", ["flights-9.9.9", "deadbeef", "../../etc", "0" * 64, "", "\x00"])
def test_an_unknown_bundle_is_not_found(idle: Port, reference: str) -> None:
    with idle.client() as client:
        calls: list[Callable[[], object]] = [
            lambda: client.deploy(reference),
            lambda: client.delete(reference, reason="old"),
        ]
        for call in calls:
            with pytest.raises(RequestError, match="no bundle") as unknown:
                call()
            assert unknown.value.code is Code.NOT_FOUND


def test_what_serves_cannot_be_deleted_and_what_does_not_can(client: AdminClient, both: tuple[str, str]) -> None:
    with pytest.raises(RequestError, match="live for 'flights'") as refused:
        client.delete("flights-1.0.0", reason="old")
    assert refused.value.code is Code.FAILED_PRECONDITION
    assert client.delete("flights-2.0.0", reason="never wanted", key="d") == both[1]
    assert client.delete(both[1], reason="never wanted", key="d") == both[1], "sent again"
    assert [item.id for item in client.bundles().bundles] == [both[0]]


def test_two_operators_at_once_make_no_state_that_neither_asked_for(port: Port, both: tuple[str, str]) -> None:
    """Of two commands that exclude each other one is done and the other told what is legal then."""
    first, second = both
    for turn in range(4):
        with port.client() as one, port.client() as two:
            one.deploy(second, plan=SLOW_PLAN)
            together = threading.Barrier(2)
            outcome: dict[str, str] = {}

            def act(
                name: str, call: Callable[..., pb.ModelStatus], start: threading.Barrier, said: dict[str, str]
            ) -> None:
                start.wait(10)
                try:
                    said[name] = call("flights").rollout.state
                except RequestError as error:
                    said[name] = f"{error.code.name}: {error}"

            acts = [("promote", one.promote), ("abort", two.abort)]
            threads = [threading.Thread(target=act, args=(*item, together, outcome)) for item in acts]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(30)
            (state,) = port.rollouts.status("flights")
            (refusal,) = [value for value in outcome.values() if ":" in value]
            assert refusal.startswith("FAILED_PRECONDITION: ")
            assert "legal now" in refusal
            assert state.rollout is not None
            assert state.live is not None
            if outcome["abort"] == "ABORTED":
                assert (state.live.id, state.rollout.state) == (first, "ABORTED")
            else:
                assert (state.live.id, state.rollout.state) == (second, "LIVE")
                one.rollback("flights", reason=f"turn {turn}")
                one.clear_quarantine(second, reason="again")


def test_a_command_decided_on_what_is_no_longer_so_is_refused(client: AdminClient, both: tuple[str, str]) -> None:
    seen = client.deploy(both[1], plan=SLOW_PLAN).revision
    paused = client.pause("flights", expected=seen)
    assert paused.revision > seen
    calls: list[Callable[[], object]] = [
        lambda: client.promote("flights", expected=seen),
        lambda: client.resume("flights", expected=seen),
        lambda: client.abort("flights", expected=seen),
        lambda: client.rollback("flights", reason="x", expected=seen),
        lambda: client.pause("flights", expected=0),
    ]
    for call in calls:
        with pytest.raises(RequestError, match="has changed since it was looked at") as refused:
            call()
        assert refused.value.code is Code.FAILED_PRECONDITION
    now = client.status("flights").models[0]
    assert (now.revision, now.rollout) == (paused.revision, paused.rollout), "nothing was done"
    assert client.promote("flights", expected=paused.revision).version == "2.0.0"
