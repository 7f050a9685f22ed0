"""RFC 6962 on the test vectors of Certificate Transparency, and verifiers that nothing makes raise."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from kedge.audit import merkle
from kedge.audit.frontier import Frontier

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    bytes.fromhex(text)
    for text in (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    )
]
N01 = "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
N23 = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
N45 = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
N67 = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
N03 = "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"
N47 = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
L0 = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
L1 = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
L4 = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
L6 = "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f"

INCLUSION = {  # index, size
    (0, 1): (),
    (0, 8): (L1, N23, N47),
    (5, 8): (L4, N67, N03),
    (2, 3): (N01,),
    (1, 5): (L0, N23, L4),
}
CONSISTENCY = {  # first, second
    (1, 1): (),
    (1, 8): (L1, N23, N47),
    (6, 8): (N45, N67, N03),
    (2, 5): (N23, L4),
    (6, 7): (N45, L6, N03),
}
SIZES = range(9)


def tree_of(entries: Sequence[bytes]) -> merkle.Tree:
    return merkle.Tree(map(merkle.leaf_hash, entries))


def hashes(texts: tuple[str, ...]) -> list[bytes]:
    return [bytes.fromhex(text) for text in texts]


@pytest.mark.parametrize("size", SIZES)
def test_roots_of_the_vectors(size: int) -> None:
    assert tree_of(LEAVES[:size]).root() == ROOTS[size]
    frontier = Frontier()
    for entry in LEAVES[:size]:
        frontier.append(merkle.leaf_hash(entry))
    assert (frontier.root(), frontier.size) == (ROOTS[size], size)
    assert Frontier(size, frontier.hashes).root() == ROOTS[size]


def test_leaves_and_nodes_are_told_apart() -> None:
    assert merkle.leaf_hash(b"") == hashlib.sha256(b"\x00").digest()
    assert merkle.node_hash(b"a", b"b") == hashlib.sha256(b"\x01ab").digest()
    assert ROOTS[0] == merkle.EMPTY_ROOT


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_inclusion_proofs_of_the_vectors(index: int, size: int) -> None:
    assert tree_of(LEAVES[:size]).inclusion_proof(index, size) == hashes(INCLUSION[index, size])


@pytest.mark.parametrize(("first", "second"), CONSISTENCY)
def test_consistency_proofs_of_the_vectors(first: int, second: int) -> None:
    assert tree_of(LEAVES[:second]).consistency_proof(first, second) == hashes(CONSISTENCY[first, second])


def test_every_proof_up_to_eight_entries_holds() -> None:
    for size in SIZES:
        for index in range(size):
            proof = tree_of(LEAVES[:size]).inclusion_proof(index, size)
            assert merkle.verify_inclusion(merkle.leaf_hash(LEAVES[index]), index, size, proof, ROOTS[size])
            assert merkle.verify_inclusion(merkle.leaf_hash(LEAVES[index]), index, size, tuple(proof), ROOTS[size])
        for first in range(size + 1):
            proof = tree_of(LEAVES[:size]).consistency_proof(first, size)
            assert merkle.verify_consistency(first, size, ROOTS[first], ROOTS[size], proof)


def spoiled_proofs(proof: list[bytes], *extra: bytes) -> Iterator[tuple[str, list[bytes]]]:
    for value in (b"", b"\x00" * 32, *extra):
        yield "extended", [*proof, value]
        yield "preceded", [value, *proof]
    for index in range(len(proof)):
        changed = bytes([proof[index][0] ^ 8]) + proof[index][1:]
        yield "bit flipped", [*proof[:index], changed, *proof[index + 1 :]]
        yield "31 bytes", [*proof[:index], proof[index][:31], *proof[index + 1 :]]
        yield "33 bytes", [*proof[:index], proof[index] + b"\0", *proof[index + 1 :]]
        yield "without one", [*proof[:index], *proof[index + 1 :]]
    for index in range(len(proof) - 1):
        yield "swapped", [*proof[:index], proof[index + 1], proof[index], *proof[index + 2 :]]


def test_malformed_inclusion_proofs_are_refused() -> None:
    for size in SIZES:
        for index in range(size):
            leaf, root = merkle.leaf_hash(LEAVES[index]), ROOTS[size]
            proof = tree_of(LEAVES[:size]).inclusion_proof(index, size)
            for what, bad in spoiled_proofs(proof, root):
                assert not merkle.verify_inclusion(leaf, index, size, bad, root), what
            for other in {*range(-1, 10), index ^ 2, 2**70} - {index}:
                assert not merkle.verify_inclusion(leaf, other, size, proof, root)
            # A path has the same shape in trees of several sizes; with the root of another size none may hold.
            for other in SIZES:
                if other != size:
                    assert not merkle.verify_inclusion(leaf, index, other, proof, ROOTS[other])
            for bad_root in (leaf if size > 1 else ROOTS[0], root[:31], root + b"\0", b"", ROOTS[0]):
                assert not merkle.verify_inclusion(leaf, index, size, proof, bad_root)
            for bad_leaf in (LEAVES[index], leaf[:31], ROOTS[0]):
                assert not merkle.verify_inclusion(bad_leaf, index, size, proof, root)


def test_nothing_is_in_an_empty_tree() -> None:
    for leaf in (ROOTS[0], merkle.leaf_hash(b"")):
        assert not merkle.verify_inclusion(leaf, 0, 0, [], ROOTS[0])


def test_malformed_consistency_proofs_are_refused() -> None:
    for second in SIZES:
        for first in range(second + 1):
            one, two = ROOTS[first], ROOTS[second]
            proof = tree_of(LEAVES[:second]).consistency_proof(first, second)
            for what, bad in spoiled_proofs(proof, one, two):
                assert not merkle.verify_consistency(first, second, one, two, bad), what
            for bad_root in (b"", one[:31], b"\x11" * 32):
                assert not merkle.verify_consistency(first, second, bad_root, two, proof)
            for bad_root in (b"", two[:31]):
                assert not merkle.verify_consistency(first, second, one, bad_root, proof)
            if first not in {0, second}:
                assert not merkle.verify_consistency(first, second, one, b"\x11" * 32, proof)
                assert not merkle.verify_consistency(first, second, two, one, proof)
                assert not merkle.verify_consistency(first, second, one, two, [])
                assert not merkle.verify_consistency(second, first, one, two, proof)
                assert not merkle.verify_consistency(second, first, two, one, proof)
            for other in set(SIZES) - {first}:
                assert not merkle.verify_consistency(other, second, one, two, proof)


def test_an_empty_tree_has_one_root() -> None:
    assert merkle.verify_consistency(0, 0, ROOTS[0], ROOTS[0], [])
    assert not merkle.verify_consistency(0, 0, ROOTS[1], ROOTS[1], [])
    assert not merkle.verify_consistency(0, 3, ROOTS[1], ROOTS[3], [])


class Liar(bytes):
    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


class Endless(list[bytes]):
    def __iter__(self) -> Iterator[bytes]:
        while True:
            yield b"\0" * 32


HOSTILE: list[Any] = [
    None, True, 1.0, float("nan"), -1, 2**80, "0", "x" * 32, b"", bytearray(32), memoryview(bytes(32)), object(),
    [], {}, [None], [[]],
    ["a" * 32], {b"\0" * 32: 1}, iter([b"\0" * 32]), Liar(32), Endless(), [Liar(32)], [b"\0" * 31],
]  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: type(value).__name__)
def test_verifiers_answer_false_to_whatever_they_are_given(value: Any) -> None:
    leaf = merkle.leaf_hash(LEAVES[5])
    inclusion: list[Any] = [leaf, 5, 8, tree_of(LEAVES).inclusion_proof(5, len(LEAVES)), ROOTS[8]]
    consistency: list[Any] = [6, 8, ROOTS[6], ROOTS[8], tree_of(LEAVES).consistency_proof(6, len(LEAVES))]
    for place in range(5):
        for good, verify in ((inclusion, merkle.verify_inclusion), (consistency, merkle.verify_consistency)):
            assert verify(*good) is True
            assert verify(*good[:place], value, *good[place + 1 :]) is False
            assert verify(value, value, value, value, value) is False


def test_provers_refuse_what_is_not_in_the_tree() -> None:
    for index in (-1, 8):
        with pytest.raises(IndexError):
            tree_of(LEAVES).inclusion_proof(index, len(LEAVES))
    for first in (-1, 9):
        with pytest.raises(IndexError):
            tree_of(LEAVES).consistency_proof(first, len(LEAVES))
    with pytest.raises(ValueError, match="no frontier"):
        Frontier(3, b"\0" * 32)
