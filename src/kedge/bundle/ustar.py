"""The 512-byte ustar header, in the one form Kedge writes: pure functions on bytes.

A header is never interpreted beyond its name and size: it must equal, byte for byte, the header Kedge would have
written for them. Links, devices, long-name extensions, other owners or times have no way to be expressed.
"""

from __future__ import annotations

from typing import Final

from kedge.bundle import limits
from kedge.errors import BundleError

BLOCK: Final = 512
MAGIC: Final = b"ustar\x0000"
"""Magic and version."""
END: Final = bytes(2 * BLOCK)
"""End of archive. Nothing follows it: no padding to a record of twenty blocks."""

_KINDS: Final = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"5": "a directory",
    b"6": "a FIFO",
    b"x": "a pax extension",
    b"g": "a pax extension",
    b"L": "a GNU long name",
    b"K": "a GNU long link",
    b"S": "a GNU sparse file",
}


def header(name: str, size: int, owner: str = "") -> bytes:
    """The header of a regular file: mode 0644, owner and group 0, time 0.

    Args:
        name: path inside the archive, at most 100 bytes of ASCII.
        size: bytes of content, at most 8 GiB - 1.
        owner: user name, at most 31 bytes of ASCII.

    Raises:
        BundleError: a value does not fit its field.
    """
    encoded = name.encode("ascii", "replace")
    if not 0 < len(encoded) <= limits.PATH_BYTES:
        raise BundleError(
            f"{name[:100]!r}: a path takes 1 to {limits.PATH_BYTES} bytes in an archive, this one {len(encoded)}"
        )
    if not 0 <= size <= limits.MEMBER_BYTES:
        raise BundleError(f"{name}: {size} bytes, limit {limits.MEMBER_BYTES} (shard larger external data)")
    fields = (
        encoded.ljust(100, b"\0"),
        b"0000644\0",  # mode
        b"0000000\0",  # user
        b"0000000\0",  # group
        b"%011o\0" % size,
        b"00000000000\0",  # mtime
        b" " * 8,  # checksum, as it counts while it is computed
        b"0".ljust(101, b"\0"),  # regular file; no link name
        MAGIC,
        owner.encode("ascii").ljust(32, b"\0"),
        bytes(32),  # group name
        b"0000000\0" * 2,  # device numbers
        bytes(155 + 12),  # prefix, padding
    )
    block = b"".join(fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def padding(size: int) -> int:
    """Zero bytes that follow `size` bytes of content."""
    return -size % BLOCK


def span(size: int) -> int:
    """Bytes a member of `size` takes, header and padding included."""
    return BLOCK + size + padding(size)


def declared_size(block: bytes) -> int | None:
    """The size a header declares, or None where that field is not eleven octal digits."""
    digits = block[124:135]
    if block[135:136] != b"\0" or not digits or digits.translate(None, b"01234567"):
        return None
    return int(digits, 8)


def fault(block: bytes, name: str, size: int, owner: str = "") -> str | None:
    """Why `block` is not the header of `name`, in one line, or None where it is."""
    if block == header(name, size, owner):
        return None
    where = f"header of {name}"
    if len(block) < BLOCK:
        return f"{where}: the archive ends here"
    if not any(block):
        return f"{name} is missing: the archive ends before it"
    if block[148:156] != b"%06o\0 " % (sum(block[:148]) + 8 * 32 + sum(block[156:])):
        return f"{where}: damaged (its checksum is wrong)"
    if block[257:265] != MAGIC:
        return f"{where}: not ustar"
    found = block[:100].rstrip(b"\0").decode("ascii", "replace")
    if found != name:
        return f"{where}: member {found[:100]!r} stands here; members must be those of bundle.json, in its order"
    if block[156:157] != b"0":
        return f"{where}: {_KINDS.get(block[156:157], 'an unknown kind of member')}; only regular files are allowed"
    if (stated := declared_size(block)) != size:
        return f"{where}: says {stated} bytes, expected {size}"
    return f"{where}: not as Kedge writes it (mode, owner, time, link or prefix differ)"
