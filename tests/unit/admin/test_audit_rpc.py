"""The log over the wire: what arrives proves itself, and nothing has to be believed."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from kedge.audit.checkpoint import Checkpoint
from kedge.audit.files import known_keys
from kedge.audit.merkle import leaf_hash, verify_consistency, verify_inclusion
from kedge.audit.note import open_note
from kedge.audit.record import SYSTEM, compose
from kedge.client import AsyncAdminClient
from kedge.errors import Code, RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kedge_testing.admins import Port

    from kedge.client import AdminClient


@pytest.fixture
def client(port: Port) -> Iterator[AdminClient]:
    with port.client() as client:
        yield client


def grow(port: Port, count: int) -> None:
    for index in range(count):
        port.parts.append(compose(action="test.noted", actor=SYSTEM, rationale=f"number {index}"))


def head(port: Port, client: AdminClient) -> Checkpoint:
    answer = client.audit.checkpoint()
    note, _ = open_note(answer.note, known_keys(port.parts.state))
    checkpoint = Checkpoint.parse(note.text)
    assert checkpoint.size == answer.size
    return checkpoint


def test_every_record_is_proven_to_be_in_the_signed_tree(port: Port, client: AdminClient) -> None:
    grow(port, 9)
    early = head(port, client)
    grow(port, 4)
    late = head(port, client)
    assert late.size == early.size + 4
    page = client.audit.entries(limit=1000)
    assert page.size == len(page.entries) == late.size
    for entry in page.entries:
        leaf = leaf_hash(entry.record)
        proof = client.audit.inclusion_proof(entry.sequence, late.size)
        assert verify_inclusion(leaf, entry.sequence, late.size, proof, late.root)
        assert not verify_inclusion(leaf_hash(entry.record + b" "), entry.sequence, late.size, proof, late.root)
    old = client.audit.inclusion_proof(3, early.size)
    assert verify_inclusion(leaf_hash(page.entries[3].record), 3, early.size, old, early.root)
    between = client.audit.consistency_proof(early.size, late.size)
    assert verify_consistency(early.size, late.size, early.root, late.root, between)


def test_pages_follow_one_another(port: Port, client: AdminClient) -> None:
    grow(port, 250)
    size = client.audit.checkpoint().size
    found: list[int] = []
    while page := client.audit.entries(len(found), limit=70).entries:
        assert len(page) <= 70
        found += [entry.sequence for entry in page]
    assert found == list(range(size))
    assert len(client.audit.entries().entries) == 100
    assert client.audit.entries(10**18).entries == []
    assert client.audit.entries(10**18).size == size


@pytest.mark.parametrize(("sequence", "size"), [(5, 5), (0, 10**6), (10**18, 10**18), (0, 0)])
def test_a_proof_of_what_is_not_there_is_refused(client: AdminClient, sequence: int, size: int) -> None:
    with pytest.raises(RequestError, match="the log has") as refused:
        client.audit.inclusion_proof(sequence, size)
    assert refused.value.code is Code.INVALID_ARGUMENT


def test_trees_that_are_not_there_are_refused(client: AdminClient) -> None:
    for first, second in ((3, 1), (0, 10**6)):
        with pytest.raises(RequestError, match="no tree of") as refused:
            client.audit.consistency_proof(first, second)
        assert refused.value.code is Code.INVALID_ARGUMENT
    with pytest.raises(RequestError, match="at most 1000"):
        client.audit.entries(limit=1001)


def test_a_watcher_hears_old_records_and_new_ones(port: Port, client: AdminClient) -> None:
    size = client.audit.checkpoint().size
    watched = client.audit.watch(size - 1)
    assert next(watched).sequence == size - 1
    grow(port, 2)
    entries = [next(watched), next(watched)]
    assert [entry.sequence for entry in entries] == [size, size + 1]
    assert [json.loads(entry.record)["rationale"] for entry in entries] == ["number 0", "number 1"]
    watched.close()


def test_the_asynchronous_client_has_it_all(port: Port) -> None:
    grow(port, 3)

    async def run() -> None:
        async with AsyncAdminClient(port.server.address) as client:
            page = await client.audit.entries()
            size = (await client.audit.checkpoint()).size
            assert page.size == size
            assert await client.audit.inclusion_proof(0, size)
            assert await client.audit.consistency_proof(1, size)
            async for entry in client.audit.watch(size - 1):
                assert entry.sequence == size - 1
                break
            with pytest.raises(RequestError, match="no tree of"):
                await client.audit.consistency_proof(3, 1)

    asyncio.run(run())
