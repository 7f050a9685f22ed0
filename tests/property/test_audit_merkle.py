"""Laws of the tree: the three ways to build one agree, and proofs hold for what they were made for and nothing else."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from kedge.audit import merkle
from kedge.audit.frontier import Frontier

if TYPE_CHECKING:
    from collections.abc import Sequence

entries = st.lists(st.binary(max_size=8), max_size=70)


def tree_of(entries: Sequence[bytes]) -> merkle.Tree:
    return merkle.Tree(map(merkle.leaf_hash, entries))


def slow_root(items: list[bytes]) -> bytes:
    """MTH as RFC 6962 defines it."""
    if not items:
        return hashlib.sha256(b"").digest()
    if len(items) == 1:
        return hashlib.sha256(b"\x00" + items[0]).digest()
    middle = 1
    while middle * 2 < len(items):
        middle *= 2
    return hashlib.sha256(b"\x01" + slow_root(items[:middle]) + slow_root(items[middle:])).digest()


@given(entries)
def test_tree_frontier_and_definition_agree(items: list[bytes]) -> None:
    frontier, tree = Frontier(), merkle.Tree()
    for item in items:
        frontier.append(merkle.leaf_hash(item))
        tree.append(merkle.leaf_hash(item))
    expected = slow_root(items)
    assert (tree_of(items).root(), frontier.root(), tree.root(), len(tree)) == (expected,) * 3 + (len(items),)
    assert len(frontier.hashes) == 32 * len(items).bit_count()


@given(entries, st.data())
def test_a_tree_remembers_its_earlier_roots(items: list[bytes], data: st.DataObject) -> None:
    size = data.draw(st.integers(0, len(items)))
    assert merkle.Tree(map(merkle.leaf_hash, items)).root(size) == slow_root(items[:size])


@given(entries.filter(bool), st.data())
def test_inclusion_holds_for_its_entry_and_index_alone(items: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(items) - 1))
    other = data.draw(st.integers(-1, len(items)))
    root, proof = tree_of(items).root(), tree_of(items).inclusion_proof(index, len(items))
    leaf = merkle.leaf_hash(items[index])
    assert merkle.verify_inclusion(leaf, index, len(items), proof, root)
    same = other == index or (
        0 <= other < len(items)
        and items[other] == items[index]
        and tree_of(items).inclusion_proof(other, len(items)) == proof
    )
    assert merkle.verify_inclusion(leaf, other, len(items), proof, root) == same
    assert not merkle.verify_inclusion(merkle.leaf_hash(items[index] + b"!"), index, len(items), proof, root)


@given(entries, st.data())
def test_consistency_holds_for_prefixes_and_not_for_changed_ones(items: list[bytes], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(items)))
    proof = tree_of(items).consistency_proof(first, len(items))
    one, two = tree_of(items[:first]).root(), tree_of(items).root()
    assert merkle.verify_consistency(first, len(items), one, two, proof)
    if first:
        changed = [*items[:first]]
        at = data.draw(st.integers(0, first - 1))
        changed[at] += b"!"
        assert not merkle.verify_consistency(first, len(items), tree_of(changed).root(), two, proof)


@given(*(st.one_of(st.none(), st.integers(-3, 2**70), st.binary(max_size=33), st.lists(st.binary(max_size=33))),) * 5)
def test_verifiers_never_raise(a: object, b: object, c: object, d: object, e: object) -> None:
    assert merkle.verify_inclusion(a, b, c, d, e) in {True, False}
    assert merkle.verify_consistency(a, b, c, d, e) in {True, False}


@given(st.integers(-2, 20), st.integers(-2, 20), st.lists(st.binary(min_size=32, max_size=32), max_size=6))
def test_verifiers_survive_proofs_of_any_length(a: int, b: int, proof: list[bytes]) -> None:
    zero = bytes(32)
    assert not merkle.verify_inclusion(zero, a, b, proof, bytes(31) + b"\1")
    assert merkle.verify_consistency(a, b, zero, bytes(31) + b"\1", proof) is False
