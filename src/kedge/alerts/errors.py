"""What can be wrong with alerts themselves."""

from __future__ import annotations

from kedge.errors import Code, KedgeError


class AlertStoreError(KedgeError):
    """The database of alerts cannot be opened, read or written; what was asked for did not happen."""

    code = Code.UNAVAILABLE
