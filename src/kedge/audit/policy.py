"""The signing policy: whose word counts in which role, for how long, and whose is needed before a bundle may serve.

::

    require: [builder, evaluator]
    keys:
      - public: build.pub              # a file relative to the policy, or the PEM text itself
        roles: [builder]
        from: 2026-01-01T00:00:00Z     # optional, inclusive
        until: 2027-01-01T00:00:00Z    # optional, exclusive; a successor is another entry, windows may overlap
    minimum:
      flights-late: 1.2.0              # optional: older versions are refused, however well signed
    downgrades: refuse                 # or allow: whether a version older than the live one may be deployed;
                                       # a rollback goes to what was live before, and is no deployment
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from kedge import strict_yaml
from kedge.audit import canonical, keys
from kedge.audit.errors import KeyFileError, PolicyError
from kedge.audit.record import SYSTEM, Actor, Draft
from kedge.audit.roles import Role  # noqa: TC001 - pydantic reads the annotations when it runs

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MAX_POLICY_BYTES: Final = 1024 * 1024
MAX_KEYS: Final = 64
"""Of one keyring: a stranger's attestation costs a signature check with each."""
PEM: Final = "-----BEGIN"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PinnedKey(_Model):
    """A public key, the roles it may speak in, and when."""

    public: str
    """PEM."""
    roles: Annotated[tuple[Role, ...], Field(min_length=1)]
    valid_from: datetime | None = Field(default=None, alias="from")
    until: datetime | None = None
    _key: Ed25519PublicKey = PrivateAttr()

    def model_post_init(self, _: Any) -> None:
        """Read the PEM and hold the window to UTC."""
        try:
            self._key = keys.load_public(self.public.encode(), "public")
        except KeyFileError as error:
            raise ValueError(str(error)) from error
        for moment in (self.valid_from, self.until):
            if moment is not None and moment.tzinfo is None:
                raise ValueError("times need a zone, as 2027-01-01T00:00:00Z")
        if self.valid_from and self.until and self.until <= self.valid_from:
            raise ValueError("'until' is not after 'from'")

    @property
    def key(self) -> Ed25519PublicKey:
        """To verify with."""
        return self._key

    @property
    def id(self) -> str:
        """Key id, 64 hex digits."""
        return keys.key_id(self._key)

    def lapse(self, moment: datetime) -> str | None:
        """Why the key does not count at this time, or None."""
        if self.valid_from is not None and moment < self.valid_from:
            return f"is not valid before {_shown(self.valid_from)}"
        if self.until is not None and moment >= self.until:
            return f"expired on {_shown(self.until)}"
        return None


class Policy(_Model):
    """What a bundle needs before it may serve."""

    require: Annotated[tuple[Role, ...], Field(min_length=1)]
    keys: Annotated[tuple[PinnedKey, ...], Field(min_length=1, max_length=MAX_KEYS)]
    minimum: dict[str, str] = {}
    downgrades: Literal["refuse", "allow"] = "refuse"

    @property
    def digest(self) -> str:
        """SHA-256 of the policy's canonical form, for records."""
        return hashlib.sha256(canonical.encode(self.model_dump(mode="json", by_alias=True))).hexdigest()


def load(path: Path) -> Policy:
    """Read a policy; key files it names are read too.

    Raises:
        PolicyError: naming the file, the field and what is wrong.
    """
    value = strict_yaml.read(path, "policy", MAX_POLICY_BYTES, PolicyError)
    if not isinstance(value, dict):
        raise PolicyError(f"'{path}': not a mapping with 'require' and 'keys'")
    listed = value.get("keys")
    for entry in listed if isinstance(listed, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("public"), str) and PEM not in entry["public"]:
            entry["public"] = _key_file(path.parent / entry["public"])
    try:
        return Policy.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise PolicyError(f"'{path}': {where}: {first['msg']}") from error


def _key_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(keys.MAX_KEY_BYTES).decode("ascii", "replace")
    except (OSError, ValueError) as error:  # ValueError: a name with NUL
        raise PolicyError(f"cannot read key '{path}': {getattr(error, 'strerror', None) or error}") from error


def changes(before: Policy | None, after: Policy | None, actor: Actor = SYSTEM) -> tuple[Draft, ...]:
    """What to record when a policy takes the place of another: each key that came, went or was changed.

    Args:
        before: the policy in force until now, or None.
        after: the one in force from now on, or None: bundles need no signature any more.
        actor: who replaced it.
    """
    old = {key.id: _facts(key) for key in before.keys} if before else {}
    new = {key.id: _facts(key) for key in after.keys} if after else {}
    digest = after.digest if after else None
    drafts = []
    for identity in sorted(old.keys() | new.keys()):
        if old.get(identity) == new.get(identity):
            continue
        what = "key.added" if identity not in old else "key.removed" if identity not in new else "key.changed"
        details: dict[str, Any] = {"key": identity, "before": old.get(identity), "after": new.get(identity)}
        drafts.append(Draft(action=what, actor=actor, policy=digest, details=details))
    if after is None:
        if before is not None:
            drafts.append(Draft(action="policy.removed", actor=actor, policy=before.digest))
    elif before is None or _rules(before) != _rules(after):
        drafts.append(Draft(action="policy.changed", actor=actor, policy=digest, details=_rules(after)))
    return tuple(drafts)


def _rules(policy: Policy) -> dict[str, Any]:
    return {"require": list(policy.require), "minimum": policy.minimum, "downgrades": policy.downgrades}


def _facts(key: PinnedKey) -> dict[str, Any]:
    return {
        "roles": list(key.roles),
        "from": key.valid_from and _shown(key.valid_from),
        "until": key.until and _shown(key.until),
    }


def _shown(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
