"""How much of a bundle Kedge is willing to read, each bound with the attack or mishap it stops."""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

ARCHIVE_BYTES: Final = 64 * GIB
"""A whole archive: an upload that fills the disk of the store."""

MANIFEST_BYTES: Final = 4 * MIB
"""bundle.json, which is held in memory before anything about it is trusted: memory exhaustion by its declared size."""

MEMBERS: Final = 4096
"""Files beside bundle.json: exhaustion of inodes and of the time each create, fsync and rename takes."""

MEMBER_BYTES: Final = 8 * GIB - 1
"""One file: what the eleven octal digits of a ustar header can say. Larger external data is sharded."""

PATH_BYTES: Final = 100
"""A member's path: what the name field of a ustar header holds, so that prefixes and long names are never read."""

JSON_DEPTH: Final = 32
"""Nesting of a JSON file: exhaustion of the stack of whatever parses it."""

JSON_BYTES: Final = 64 * MIB
"""A JSON file other than bundle.json, held in memory: memory exhaustion."""

JSON_INTEGER: Final = 2**53 - 1
"""Largest magnitude of a JSON integer: beyond it two parsers may read two numbers (RFC 8785 knows doubles only)."""

JSON_NUMBER_CHARS: Final = 400
"""Characters of one number: converting decimal text to an integer takes time that grows with its square."""

GOLDEN_BYTES: Final = 64 * MIB
"""golden/golden.json: rows that are replayed at every load, held in memory by each loader."""

CARD_BYTES: Final = 16 * MIB
"""docs/modelcard.md: text that tools show whole."""

MODEL_BYTES: Final = 2 * GIB - 1
"""An ONNX file without its external data: protobuf's own bound, and the most that is parsed in memory."""

GOLDEN_ELEMENTS: Final = 16 * MIB
"""Elements of one golden tensor: a shape whose product overflows, or says gigabytes where the data says none."""

RANK: Final = 16
"""Dimensions of a tensor whose elements are counted: a product of a million large ones takes minutes and megabytes."""

COPY_BYTES: Final = MIB
"""Read and hashed at a time: memory stays the same however large a member is."""
