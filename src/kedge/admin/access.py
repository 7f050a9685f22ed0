"""Who may call what on the admin port: the one place that decides.

Default deny: a method without a line in `METHODS` is not served at all, and a caller who is not known has no role.
"""

from __future__ import annotations

import logging
import os
import pwd
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kedge.admin.tokens import ROLES, Tokens
from kedge.audit.record import Actor
from kedge.errors import Code, ConfigError, RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from kedge.config import RoleName

log = logging.getLogger(__name__)
ADMIN: Final = "kedge.v1.Admin"
AUDIT: Final = "kedge.v1.Audit"
OUTCOMES: Final = "kedge.v1.OutcomeReports"


@dataclass(frozen=True)
class Rule:
    """What a method asks of its caller.

    Attributes:
        role: the least that may call it.
        command: it changes something, or is the first step of what does: refusing it is worth a record.
    """

    role: RoleName
    command: bool = False


METHODS: Final[Mapping[str, Rule]] = {
    f"{ADMIN}/GetStatus": Rule("viewer"),
    f"{ADMIN}/GetDriftReport": Rule("viewer"),
    f"{OUTCOMES}/GetOutcomesReport": Rule("viewer"),
    f"{ADMIN}/WatchVerdicts": Rule("viewer"),
    f"{ADMIN}/WatchEvents": Rule("viewer"),
    f"{ADMIN}/ListBundles": Rule("viewer"),
    f"{ADMIN}/GetBundle": Rule("viewer"),
    f"{ADMIN}/RecommendRollback": Rule("operator"),
    f"{ADMIN}/Promote": Rule("operator", command=True),
    f"{ADMIN}/Pause": Rule("operator", command=True),
    f"{ADMIN}/Resume": Rule("operator", command=True),
    f"{ADMIN}/Abort": Rule("operator", command=True),
    f"{ADMIN}/Rollback": Rule("operator", command=True),
    f"{ADMIN}/UploadBundle": Rule("deployer", command=True),
    f"{ADMIN}/QueryUpload": Rule("deployer", command=True),
    f"{ADMIN}/Deploy": Rule("deployer", command=True),
    f"{ADMIN}/DeleteBundle": Rule("admin", command=True),
    f"{ADMIN}/ClearQuarantine": Rule("admin", command=True),
    f"{AUDIT}/ListEntries": Rule("viewer"),
    f"{AUDIT}/GetCheckpoint": Rule("viewer"),
    f"{AUDIT}/GetInclusionProof": Rule("viewer"),
    f"{AUDIT}/GetConsistencyProof": Rule("viewer"),
    f"{AUDIT}/WatchEntries": Rule("viewer"),
}


@dataclass(frozen=True)
class Caller:
    """Someone known.

    Attributes:
        actor: as the audit log names them.
        role: what they may do.
    """

    actor: Actor
    role: RoleName


class DeniedError(RequestError):
    """A caller may not.

    Attributes:
        actor: who it was, as far as that is known.
    """

    def __init__(self, code: Code, message: str, actor: Actor) -> None:
        super().__init__(code, message)
        self.actor = actor


class Access:
    """Decides about calls. Thread-safe.

    Args:
        tokens: file of callers known by a token, or None.
        certificates: role by name in a client certificate; empty where there are none.
        local: who every caller is if neither is given: the port is then for its own machine alone.

    Raises:
        ConfigError: the file of tokens cannot be used.
    """

    def __init__(
        self, *, tokens: Path | None = None, certificates: Mapping[str, RoleName] | None = None, local: Actor
    ) -> None:
        self._tokens = None if tokens is None else Tokens(tokens)
        self._certificates = dict(certificates or {})
        self._local = None if tokens is not None or certificates else Caller(local, "admin")

    def decide(self, method: str, authorization: Sequence[str], names: Sequence[str]) -> Caller:
        """Let a call pass, or not.

        Args:
            method: ``service/method``, one of `METHODS`.
            authorization: values of that name in the call's metadata.
            names: of the client's certificate, verified by the transport: alternative names and common name.

        Raises:
            DeniedError: UNAUTHENTICATED: nobody known; PERMISSION_DENIED: known, but this needs another role.
        """
        caller = self._local or self._known(authorization, names)
        wanted = METHODS[method].role
        if ROLES.index(caller.role) < ROLES.index(wanted):
            raise DeniedError(
                Code.PERMISSION_DENIED,
                f"{method.rpartition('/')[2]} needs role '{wanted}'; '{caller.actor.name}' is '{caller.role}'",
                caller.actor,
            )
        return caller

    def _known(self, authorization: Sequence[str], names: Sequence[str]) -> Caller:
        """The caller by token if one was sent, else by certificate."""
        if authorization and self._tokens is not None:
            return _by_token(self._tokens, authorization)
        found = [(name, self._certificates[name]) for name in names if name in self._certificates]
        if found:  # of several names the one that is allowed least
            name, role = min(found, key=lambda item: ROLES.index(item[1]))
            return Caller(Actor(name=name, authenticated_by="mtls"), role)
        if names:
            shown = ascii(names[0])[1:-1][:100]
            raise _unknown(f"the certificate of '{shown}' has no role here; give it one under admin_auth", shown)
        raise _unknown(
            "send a token (--token-file, KEDGE_ADMIN_TOKEN)"
            if self._tokens is not None
            else "send a client certificate (--tls-cert, --tls-key)"
        )


def local_actor(*, unix: bool) -> Actor:
    """Whom callers are taken for where nothing authenticates them.

    A unix socket that only its owner may open proves who that is; a port of loopback proves nothing.
    """
    if not unix:
        return Actor(name="local", authenticated_by="none")
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = f"uid-{os.getuid()}"
    return Actor(name=name, authenticated_by="unix-user")


def _by_token(tokens: Tokens, authorization: Sequence[str]) -> Caller:
    scheme, _, secret = authorization[0].partition(" ")
    if len(authorization) != 1 or scheme.lower() != "bearer" or not secret:
        raise _unknown("authorization must be one 'Bearer TOKEN'")
    try:
        token = tokens.match(secret)
    except ConfigError as error:
        log.exception("callers by token are refused until this is mended")
        raise _unknown("the server cannot read its tokens; its log says more") from error
    if token is None:
        raise _unknown("this token is not known here; it may have been revoked")
    return Caller(Actor(name=token.name, authenticated_by="token"), token.role)


def _unknown(message: str, name: str = "unknown") -> DeniedError:
    return DeniedError(Code.UNAUTHENTICATED, message, Actor(name=name or "unknown", authenticated_by="none"))
