"""The doors of a server, where the signing policy is asked: at upload, at load and at deployment.

Without a policy every door is open, and attestations are kept all the same.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol

from pydantic import ValidationError

from kedge.audit import canonical, dsse, gate, policy, sidecars
from kedge.audit.clock import system_clock
from kedge.audit.errors import AuditError, PolicyError, SignatureError
from kedge.audit.policy import Policy
from kedge.audit.record import SYSTEM, Draft, Record
from kedge.audit.statement import PAYLOAD_TYPE, Subject

if TYPE_CHECKING:
    from pathlib import Path

    from kedge.audit.clock import Clock
    from kedge.audit.gate import Decision
    from kedge.audit.log import AuditLog
    from kedge.audit.record import Actor

POLICY_TABLE: Final = "CREATE TABLE IF NOT EXISTS signing_policy (id INTEGER PRIMARY KEY, policy TEXT NOT NULL) STRICT"
"""The policy that was in force last, canonical; beside the log, so that what changes it and its records are one."""


REFUSED: Final = "bundle.refused"
WORDS: Final = 2000
"""Characters of the reasons in a record."""

_logger = logging.getLogger(__name__)


class Named(Protocol):
    """A bundle, whose id was computed from its bytes."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...


class Doors:
    """What a signing policy says of bundles that come in, are loaded or are deployed. Thread-safe.

    Args:
        policy: in force; None asks for nothing.
        store: root of the bundle store.
        clock: by which keys begin and expire.
        log: takes a record of every refusal; None keeps none. A refusal stands whether it can be recorded or not.
    """

    def __init__(
        self, policy: Policy | None, store: Path, clock: Clock = system_clock, log: AuditLog | None = None
    ) -> None:
        self.policy = policy
        self._store = store
        self._clock = clock
        self._log = log

    @property
    def digest(self) -> str | None:
        """SHA-256 of the policy, for records; None without one."""
        return None if self.policy is None else self.policy.digest

    def admit(self, bundle: Named, archive: Path) -> Decision | None:
        """Ask before an archive is kept, by what lies beside it and what the store has about the same bundle.

        Returns:
            What the policy said; None without one.

        Raises:
            BundleRefusedError: it may not come in, with every reason.
            SignatureError: its attestations cannot be read, or are too many.
        """
        directory = self._directory(bundle)
        sidecars.coming(archive, directory, self._known)  # there is room for them
        return self._ask("upload", bundle, (*sidecars.beside(archive), *sidecars.stored(directory)), None)

    def keep(self, bundle: Named, archive: Path) -> None:
        """Take over the attestations beside an archive whose bundle the store has now.

        Under a policy only those that bear the signature of one of its keys: others would take up the room of them.

        Raises:
            SignatureError: they cannot be read, or are too many.
            AuditError: they cannot be written.
        """
        directory = self._directory(bundle)
        sidecars.adopt(sidecars.coming(archive, directory, self._known), directory)

    def check(self, bundle: Named, live: Named | None = None) -> Decision | None:
        """Ask before a bundle of the store is loaded or deployed.

        Args:
            bundle: of the store.
            live: the bundle whose place a deployment would take; None at a restart and for a rollback.

        Returns:
            What the policy said; None without one.

        Raises:
            BundleRefusedError: it may not pass, with every reason.
            SignatureError: its attestations cannot be read, or are too many.
        """
        if self.policy is None:
            return None
        door, over = ("load", None) if live is None else ("deployment", live.version)
        return self._ask(door, bundle, sidecars.stored(self._directory(bundle)), over)

    def _ask(self, door: str, bundle: Named, found: tuple[tuple[str, bytes], ...], live: str | None) -> Decision | None:
        if self.policy is None:
            return None
        subject = Subject(bundle.id, bundle.name, bundle.version)
        now = datetime.fromtimestamp(self._clock().nanoseconds / 1e9, UTC)
        try:
            return gate.require(self.policy, subject, found, now, live)
        except gate.BundleRefusedError as error:
            self._record(door, subject, str(error))
            raise

    def _known(self, data: bytes) -> bool:
        """Whether a key of the policy signed an attestation, in whatever role."""
        if self.policy is None:
            return True
        trusted = {str(index): pinned.key for index, pinned in enumerate(self.policy.keys)}
        try:
            return bool(dsse.verify(dsse.Envelope.parse(data), trusted, (PAYLOAD_TYPE,)))
        except SignatureError:
            return False

    def _record(self, door: str, subject: Subject, words: str) -> None:
        if self._log is None:
            return
        try:
            self._log.append(
                Draft(
                    action=REFUSED,
                    actor=SYSTEM,
                    model=subject.name,
                    bundle=subject.bundle,
                    policy=self.digest,
                    rationale=words[:WORDS],
                    details={"door": door},
                )
            )
        except AuditError as error:
            _logger.warning("a refusal is not recorded", extra={"data": {"bundle": str(subject), "reason": str(error)}})

    def _directory(self, bundle: Named) -> Path:
        return self._store / "sha256" / bundle.id


def note_policy(log: AuditLog, current: Policy | None, actor: Actor = SYSTEM) -> tuple[Record, ...]:
    """Record what changed in the policy since the last start: every key that came, went or changed, and the rules.

    Args:
        log: of the server; the policy that was in force last is kept in its database.
        current: the policy from now on, or None.
        actor: who changed it.

    Raises:
        AuditError: the log did not take it.
        PolicyError: what the database holds is no policy.
    """
    with log.transaction() as work:
        work.execute(POLICY_TABLE)
        row = work.execute("SELECT policy FROM signing_policy WHERE id = 0").fetchone()
        before = None if row is None else _stored(row[0])
        drafts = policy.changes(before, current, actor)
        records = tuple(work.append(draft) for draft in drafts)
        if not drafts:
            return ()
        if current is None:
            work.execute("DELETE FROM signing_policy")
        else:
            text = canonical.encode(current.model_dump(mode="json", by_alias=True)).decode()
            work.execute("INSERT OR REPLACE INTO signing_policy (id, policy) VALUES (0, ?)", (text,))
        return records


def _stored(text: str) -> Policy:
    try:
        return Policy.model_validate(json.loads(text))
    except (ValueError, ValidationError) as error:
        raise PolicyError("the signing policy kept in the database is damaged; restore the newest copy") from error
