"""A tree that only grows, in logarithmic memory: the roots of its complete subtrees and nothing else."""

from __future__ import annotations

from kedge.audit.merkle import EMPTY_ROOT, HASH_BYTES, node_hash


class Frontier:
    """The compact range of entries 0 to `size`: one hash a one-bit of `size`, largest subtree first.

    Args:
        size: entries so far.
        hashes: roots of the complete subtrees, as `hashes` gives them.

    Raises:
        ValueError: `hashes` does not have one hash for each one-bit of `size`.
    """

    def __init__(self, size: int = 0, hashes: bytes = b"") -> None:
        if size < 0 or len(hashes) != size.bit_count() * HASH_BYTES:
            raise ValueError(f"{len(hashes)} bytes are no frontier of {size} entries")
        self.size = size
        self._stack = [hashes[i : i + HASH_BYTES] for i in range(0, len(hashes), HASH_BYTES)]

    @property
    def hashes(self) -> bytes:
        """The subtree roots, one after the other: 32 bytes each, largest subtree first."""
        return b"".join(self._stack)

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash; two hashes on average."""
        node = leaf
        size = self.size
        while size & 1:
            node = node_hash(self._stack.pop(), node)
            size >>= 1
        self._stack.append(node)
        self.size += 1

    def root(self) -> bytes:
        """Root of the tree as it is."""
        if not self._stack:
            return EMPTY_ROOT
        root = self._stack[-1]
        for left in reversed(self._stack[:-1]):
            root = node_hash(left, root)
        return root

    def copy(self) -> Frontier:
        """A frontier that grows on its own."""
        return Frontier(self.size, self.hashes)
