"""Events over the wire: from any on, of one model, to a bounded number of watchers; and the asynchronous client."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from kedge.admin.events import WATCHERS
from kedge.client import AsyncAdminClient
from kedge.errors import Code, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kedge_testing.admins import Port

CANARY = {"strategy": "canary", "steps": [{"share": 0.5, "approval": True}], "baking": None}


def test_a_watcher_goes_on_from_where_it_was(port: Port, archive: Callable[[], Path]) -> None:
    with port.client() as client:
        assert list(client.events(once=True)) == []
        bundle = client.upload(archive())
        client.deploy(bundle.id, strategy="swap", reason="first")
        events = list(client.events(once=True))
        numbers = [event.sequence for event in events]
        assert numbers == sorted(set(numbers))
        assert events[-1].next_state == "LIVE"
        assert {(event.model, event.bundle, event.version) for event in events} == {("flights", bundle.id, "1.0.0")}
        assert [event.sequence for event in client.events(after=numbers[0], once=True)] == numbers[1:]
        assert list(client.events("trains", once=True)) == []
        following = client.events(after=numbers[-1])
        with pytest.raises(RequestError):
            client.pause("flights")  # a refused command is no event
        second = client.upload(archive("2.0.0"))
        client.deploy(second.id, plan=CANARY)
        assert next(following).bundle == second.id
        following.close()


def test_too_many_watchers_are_told(port: Port, archive: Callable[[], Path]) -> None:
    with port.client() as client:
        client.deploy(client.upload(archive()).id, strategy="swap")
        streams = [client.events() for _ in range(WATCHERS)]
        for stream in streams:
            next(stream)
        with pytest.raises(RequestError, match=f"{WATCHERS} watch events already") as refused:
            next(client.events())
        assert refused.value.code is Code.RESOURCE_EXHAUSTED
        assert client.status().models[0].model == "flights", "questions have threads of their own"
        for stream in streams:
            stream.close()


def test_the_asynchronous_client_does_all_that_the_other_does(port: Port, archive: Callable[[str], Path]) -> None:
    async def run() -> None:
        async with AsyncAdminClient(port.server.address, timeout=20) as client:
            one = await client.upload(archive("1.0.0"))
            two = await client.upload(archive("2.0.0"))
            await client.deploy(one.id, strategy="swap")
            assert (await client.deploy("flights-2.0.0", plan=CANARY)).rollout.state == "CANARY"
            assert (await client.pause("flights")).rollout.state == "PAUSED"
            assert (await client.resume("flights")).rollout.state == "CANARY"
            assert (await client.promote("flights")).bundle == two.id
            assert (await client.rollback("flights", reason="worse")).bundle == one.id
            assert await client.clear_quarantine(two.id, reason="mended") == two.id
            await client.deploy(two.id, plan=CANARY)
            assert (await client.abort("flights")).rollout.state == "ABORTED"
            port.rollouts.tick()  # unloads what is not needed any more
            assert await client.delete(two.id, reason="never again") == two.id
            assert (await client.bundle("flights-1.0.0")).bundle.state == "LIVE"
            assert [item.id for item in (await client.bundles()).bundles] == [one.id]
            assert (await client.status("flights")).models[0].bundle == one.id
            assert (await client.drift("flights")).rows == 0
            assert [event.actor async for event in client.events(once=True)][-1] == "local"
            async for verdicts in client.watch():
                assert verdicts.complete
                break
            with pytest.raises(RequestError, match="no model 'trains'") as refused:
                await client.pause("trains")
            assert refused.value.code is Code.NOT_FOUND
            with pytest.raises(RequestError, match="no model 'trains'"):
                await anext(client.watch("trains"))

    asyncio.run(run())


def test_both_clients_have_the_same_methods() -> None:
    from kedge.client import AdminClient, AsyncAuditClient, AuditClient

    def public(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert public(AdminClient) == public(AsyncAdminClient)
    assert public(AuditClient) == public(AsyncAuditClient)
