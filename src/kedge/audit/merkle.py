"""The Merkle tree of RFC 6962 section 2 (RFC 9162 section 2.1), with SHA-256, on bytes and nothing else.

An *entry* is the raw bytes of a record; its *leaf* is ``leaf_hash(entry)``, 32 bytes. The tree takes leaves,
verifiers take leaves, roots and proofs. A proof is a list of 32-byte hashes, in the order RFC 6962 gives. The verifiers
are meant for input from strangers: whatever they are given, of whatever type, they answer True or False and never
raise.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, TypeGuard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
"""Root of the tree without entries."""


def leaf_hash(entry: bytes) -> bytes:
    """Hash of one entry: SHA-256 of a zero byte and the entry."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node: SHA-256 of a one byte and both children. The prefix keeps nodes from passing as leaves."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def verify_inclusion(leaf: object, index: object, size: object, proof: object, root: object) -> bool:
    """Whether `leaf` is entry number `index` of the tree of `size` entries with this root (RFC 9162, 2.1.3.2).

    Args:
        leaf: the *leaf hash* of the entry, 32 bytes: ``leaf_hash(entry)``, not the entry itself.
        index: of the entry, from 0.
        size: entries in the tree.
        proof: list or tuple of 32-byte hashes.
        root: 32 bytes.
    """
    if type(index) is not int or type(size) is not int or not (_is_hash(leaf) and _is_hash(root) and _is_proof(proof)):
        return False
    if not 0 <= index < size:
        return False
    node, last, result = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            result = node_hash(sibling, result)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            result = node_hash(result, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and result == root


def verify_consistency(
    first_size: object, second_size: object, first_root: object, second_root: object, proof: object
) -> bool:
    """Whether the tree of the first size and root is a prefix of the tree of the second (RFC 9162, 2.1.4.2).

    Every tree extends the empty one, whose root is `EMPTY_ROOT` and nothing else; equal sizes need equal roots. The
    proof is empty in both cases.

    Args:
        first_size: entries of the earlier tree.
        second_size: entries of the later tree.
        first_root: 32 bytes.
        second_root: 32 bytes.
        proof: list or tuple of 32-byte hashes.
    """
    if type(first_size) is not int or type(second_size) is not int:
        return False
    if not (_is_hash(first_root) and _is_hash(second_root) and _is_proof(proof)):
        return False
    if not 0 <= first_size <= second_size:
        return False
    if first_size == second_size:
        return not proof and first_root == second_root and (first_size > 0 or first_root == EMPTY_ROOT)
    if first_size == 0:
        return not proof and first_root == EMPTY_ROOT
    path = [first_root, *proof] if first_size & (first_size - 1) == 0 else list(proof)
    if not path:
        return False
    node, last = first_size - 1, second_size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    first = second = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            second = node_hash(second, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and first == first_root and second == second_root


class Tree:
    """All hashes of complete subtrees, for proofs in logarithmic time: 64 bytes an entry.

    Args:
        leaves: leaf hashes to begin with.
    """

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self._levels: list[bytearray] = [bytearray()]
        for leaf in leaves:
            self.append(leaf)

    def __len__(self) -> int:
        return len(self._levels[0]) // HASH_BYTES

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash."""
        level = 0
        node = leaf
        while True:
            self._levels[level] += node
            size = len(self._levels[level])
            if size % (2 * HASH_BYTES):
                return
            node = node_hash(bytes(self._levels[level][-2 * HASH_BYTES : -HASH_BYTES]), node)
            level += 1
            if level == len(self._levels):
                self._levels.append(bytearray())

    def root(self, size: int | None = None) -> bytes:
        """Root of the tree of the first `size` entries, or of all."""
        return self._range(0, len(self) if size is None else size)

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        """Audit path of entry `index` in the tree of the first `size` entries. Raises `IndexError`."""
        if not 0 <= index < size <= len(self):
            raise IndexError(f"no entry {index} in a tree of {size}")
        return _path(index, 0, size, self._range)

    def consistency_proof(self, first: int, second: int) -> list[bytes]:
        """Proof that the tree of `first` entries is a prefix of that of `second`. Raises `IndexError`."""
        if not 0 <= first <= second <= len(self):
            raise IndexError(f"no tree of {first} entries within one of {second}")
        return _subproof(first, 0, second, self._range, whole=True) if first else []

    def _range(self, begin: int, end: int) -> bytes:
        """Root of entries begin to end, a range that a tree's split by powers of two comes upon."""
        count = end - begin
        if count == 0:
            return EMPTY_ROOT
        if count & (count - 1) == 0:
            level = count.bit_length() - 1
            at = (begin >> level) * HASH_BYTES
            return bytes(self._levels[level][at : at + HASH_BYTES])
        middle = begin + split(count)
        return node_hash(self._range(begin, middle), self._range(middle, end))


def split(size: int) -> int:
    """The largest power of two smaller than `size` (at least 2): how many entries go to the left subtree."""
    return 1 << ((size - 1).bit_length() - 1)


def _path(index: int, begin: int, end: int, root: Callable[[int, int], bytes]) -> list[bytes]:
    if end - begin == 1:
        return []
    middle = begin + split(end - begin)
    if index < middle:
        return [*_path(index, begin, middle, root), root(middle, end)]
    return [*_path(index, middle, end, root), root(begin, middle)]


def _subproof(first: int, begin: int, end: int, root: Callable[[int, int], bytes], *, whole: bool) -> list[bytes]:
    if first == end:
        return [] if whole else [root(begin, end)]
    middle = begin + split(end - begin)
    if first <= middle:
        return [*_subproof(first, begin, middle, root, whole=whole), root(middle, end)]
    return [*_subproof(first, middle, end, root, whole=False), root(begin, middle)]


def _is_hash(value: object) -> TypeGuard[bytes]:
    # Exact types: a subclass may bring comparisons and iterators of its own.
    return type(value) is bytes and len(value) == HASH_BYTES


def _is_proof(value: object) -> TypeGuard[list[bytes]]:
    return type(value) in {list, tuple} and all(map(_is_hash, value))  # type: ignore[call-overload]  # a list or tuple it is
