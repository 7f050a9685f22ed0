"""What can be wrong with keys, signatures, policies and the log."""

from __future__ import annotations

from kedge.errors import Code, KedgeError


class AuditError(KedgeError):
    """The audit log cannot be used, read or written."""

    code = Code.FAILED_PRECONDITION


class RecordError(AuditError):
    """A record would say something that a record cannot hold."""

    code = Code.INVALID_ARGUMENT


class KeyFileError(KedgeError):
    """A key file is missing, readable by others, or no Ed25519 key."""

    code = Code.FAILED_PRECONDITION


class SignatureError(KedgeError):
    """A signed note, checkpoint or envelope is malformed, or not signed by whom it should be."""

    code = Code.PERMISSION_DENIED


class PolicyError(KedgeError):
    """A signing policy or keyring cannot be used."""

    code = Code.INVALID_ARGUMENT
