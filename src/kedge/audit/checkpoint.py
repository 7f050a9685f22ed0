"""C2SP checkpoints (c2sp.org/tlog-checkpoint): a tree's origin, size and root, in a signed note."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kedge.audit.errors import SignatureError
from kedge.audit.merkle import HASH_BYTES
from kedge.audit.note import Note, check_name

if TYPE_CHECKING:
    from kedge.audit.note import Signer


@dataclass(frozen=True)
class Checkpoint:
    """A tree head.

    Attributes:
        origin: which log, as ``example.com/log42``.
        size: entries.
        root: 32 bytes.
    """

    origin: str
    size: int
    root: bytes

    def text(self) -> bytes:
        """The note's text: three lines. Kedge writes no extension lines, which nobody could audit."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n".encode()

    def sign(self, *signers: Signer) -> Note:
        """The checkpoint as a note signed by each of `signers`."""
        text = self.text()
        return Note(text, tuple(signer.sign(text) for signer in signers))

    @classmethod
    def parse(cls, text: bytes) -> Checkpoint:
        """Read a note's text, which must be spelled as `text` spells it.

        Raises:
            SignatureError: it is no checkpoint, or has extension lines.
        """
        lines = text.decode("utf-8", "replace").split("\n")
        if len(lines) != 4 or not lines[1].isascii() or not lines[1].isdigit() or len(lines[1]) > 18:
            raise SignatureError("checkpoint: not the three lines of origin, size and root")
        try:
            checkpoint = cls(lines[0], int(lines[1]), base64.b64decode(lines[2], validate=True))
        except (binascii.Error, ValueError) as error:
            raise SignatureError("checkpoint: its root is not base64") from error
        check_name(checkpoint.origin)
        if len(checkpoint.root) != HASH_BYTES or checkpoint.text() != text:
            raise SignatureError("checkpoint: its root is not 32 bytes, or a line is not in its one spelling")
        return checkpoint
