"""The one exception tree. Errors carry their own code; each transport maps that code once."""

from __future__ import annotations

from enum import Enum
from typing import Final

MESSAGE_CHARS: Final = 4000
"""Of an error's message: names and values in it may be a stranger's choice, and it goes to logs, callers, terminals."""


class Code(Enum):
    """Why something failed, in words no transport owns. The values are gRPC's status numbers."""

    CANCELLED = 1
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


GRPC_STATUSES: Final = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
"""Names of all of gRPC's statuses, by number: answers of other servers, and counts, may have any."""


class KedgeError(Exception):
    """Base of every error Kedge raises on purpose.

    The message is one line for a person: what was wrong, where, and what to do.

    Attributes:
        code: the kind of failure, mapped to a gRPC status or an exit status at the edge.
    """

    code: Code = Code.INTERNAL

    def __str__(self) -> str:
        """The message, with control characters and other unprintables (which may steer a terminal) made harmless."""
        text = super().__str__()
        if len(text) > MESSAGE_CHARS:
            text = f"{text[: MESSAGE_CHARS - 3]}..."
        if text.isprintable():
            return text
        return "".join(char if char.isprintable() else " " if char.isspace() else "?" for char in text)


class ConfigError(KedgeError):
    """A setting, flag or file of settings is wrong."""

    code = Code.INVALID_ARGUMENT


class BundleError(KedgeError):
    """A bundle archive, directory or manifest cannot be trusted or used."""

    code = Code.INVALID_ARGUMENT


class BundleConflictError(BundleError):
    """The same name and version exists with another id."""

    code = Code.ALREADY_EXISTS


class SpecError(KedgeError):
    """A bundle spec, or the model and data it names, cannot be built."""

    code = Code.INVALID_ARGUMENT


class KernelError(KedgeError):
    """A kernel is missing, or was given rows that do not fit its layout."""

    code = Code.FAILED_PRECONDITION


class SnapshotError(KernelError):
    """Snapshot bytes are damaged, of an unknown version, or of another layout."""

    code = Code.INVALID_ARGUMENT


class PlaneError(KedgeError):
    """A data plane refused a load, a publish or a retire; nothing was changed."""

    code = Code.FAILED_PRECONDITION


class ModelLoadError(PlaneError):
    """A bundle could not be loaded, or its golden rows did not come out as recorded."""


class RequestError(KedgeError):
    """One request cannot be answered. The code is chosen where the fault is found."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
