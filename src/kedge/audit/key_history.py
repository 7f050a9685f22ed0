"""The keys of a log, as its own records name them: the first in its first record, each other in a rotation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kedge.audit.errors import SignatureError
from kedge.audit.findings import KeyPeriod
from kedge.audit.note import Verifier
from kedge.audit.record import KEY_ROTATED, LOG_CREATED

if TYPE_CHECKING:
    from collections.abc import Mapping


class KeyHistory:
    """Which keys sign the checkpoint of which size.

    The first checkpoint of a successor bears its predecessor's signature too, and where that one has signed nothing
    yet, its predecessor's, and so on: nobody becomes the log's key without a signature of the one that was.
    """

    def __init__(self) -> None:
        self._keys: list[Verifier] = []
        self._since: list[int] = []
        self._shared: list[int] = []

    def read(self, position: int, record: Mapping[str, Any]) -> None:
        """Take note of a record that names a key.

        Raises:
            SignatureError: it should name one, and does not name a proper one.
        """
        action = record.get("action")
        if position == 0 and action != LOG_CREATED:
            raise SignatureError("the first record does not create the log")
        if action not in {LOG_CREATED, KEY_ROTATED}:
            return
        details = record.get("details")
        details = details if isinstance(details, dict) else {}
        verifier = Verifier.parse(str(details.get("key")))
        if (action == LOG_CREATED) != (position == 0):
            raise SignatureError("the log is created a second time")
        if action == LOG_CREATED:
            if details.get("origin") != verifier.name:
                raise SignatureError("the log's origin is not the name of its key")
        elif not self._keys or details.get("previous") != self._keys[-1].vkey or verifier.name != self._keys[-1].name:
            raise SignatureError("a key is replaced that was not in force")
        self._keys.append(verifier)
        self._since.append(position + 1)

    def due(self, size: int) -> tuple[Verifier, ...]:
        """Keys that must have signed a checkpoint of this size; asked in ascending order of sizes."""
        keys = [index for index, since in enumerate(self._since) if since <= size]
        if not keys:
            return ()
        index = keys[-1]
        while len(self._shared) <= index:
            self._shared.append(size)
        first = index
        while first and self._shared[first] == size:
            first -= 1
        return tuple(self._keys[first : index + 1])

    def periods(self) -> tuple[KeyPeriod, ...]:
        """Every key, in order."""
        ends = [*self._shared[1:], None]
        return tuple(
            KeyPeriod(key, since, ends[index] if index < len(ends) else None)
            for index, (key, since) in enumerate(zip(self._keys, self._since, strict=True))
        )
