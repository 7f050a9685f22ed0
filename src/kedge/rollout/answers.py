"""Answers that are given again: the same idempotency key with the same command does nothing a second time."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from kedge.audit.record import Actor
from kedge.errors import Code, KedgeError
from kedge.rollout import plan as plans
from kedge.rollout.reading import Reading
from kedge.rollout.states import Command, State
from kedge.rollout.values import BundleState, ModelState, RolloutState

if TYPE_CHECKING:
    from kedge.rollout.book import Execute, Model


REMEMBERED_SECONDS: Final = 7 * 86400.0
"""How long an answer is given again: nobody retries for longer, and the table must not grow for ever."""


class KeyReusedError(KedgeError):
    """An idempotency key came with another command than the first time."""

    code = Code.ALREADY_EXISTS


class ChangedError(KedgeError):
    """A model is not as it was when the command was decided on."""

    code = Code.FAILED_PRECONDITION


@dataclass(frozen=True)
class Order:
    """Who asks, why, under which idempotency key (empty: none), and by which revision of the model (None: any)."""

    by: Actor
    reason: str = ""
    key: str = ""
    expected: int | None = None

    def check(self, model: Model) -> None:
        """Refuse what was decided on something else. Raises `ChangedError`."""
        if self.expected is not None and self.expected != model.revision:
            raise ChangedError(
                f"'{model.name}' has changed since it was looked at (revision {self.expected}, now {model.revision}); "
                "look again with: kedge status, then decide"
            )

    @property
    def because(self) -> str:
        """The reason, as the end of a sentence."""
        return f": {self.reason}" if self.reason else ""

    def request(self, command: str, *arguments: str | None) -> Request:
        """A command with what it was given; who asked and why may differ when it comes again."""
        digest = hashlib.sha256(json.dumps([command, *arguments]).encode()).hexdigest()
        return Request(self.key, digest)


@dataclass(frozen=True)
class Request:
    """A command that may come twice.

    Attributes:
        key: idempotency key; empty where the caller has none.
        digest: SHA-256 of the command and its arguments.
    """

    key: str
    digest: str

    def same_key(self, other: Request) -> bool:
        """Whether it is the other one come again. Raises `KeyReusedError` where only the key is the same."""
        if not self.key or self.key != other.key:
            return False
        if self.digest != other.digest:
            raise KeyReusedError(f"idempotency key '{self.key[:64]}' was used for another command; choose a new one")
        return True


def save(execute: Execute, request: Request, answer: ModelState, now: float) -> None:
    """Write an answer, inside the transaction of what it answers."""
    _save(execute, request, _to_json(answer), now)


def note(execute: Execute, request: Request, now: float) -> None:
    """As `save`, for a command whose answer is that it was carried out."""
    _save(execute, request, "", now)


def noted(execute: Execute, request: Request) -> bool:
    """Whether a command was carried out before. Raises `KeyReusedError`."""
    return _row(execute, request) is not None


def find(execute: Execute, request: Request) -> ModelState | None:
    """The answer that was given before, or None.

    Raises:
        KeyReusedError: the key came with another command then.
    """
    answer = _row(execute, request)
    return None if answer is None else _from_json(answer)


def _save(execute: Execute, request: Request, answer: str, now: float) -> None:
    if not request.key:
        return
    execute("DELETE FROM request WHERE at < ?", (now - REMEMBERED_SECONDS,))
    execute(
        "INSERT INTO request (key, command, answer, at) VALUES (?, ?, ?, ?)",
        (request.key, request.digest, answer, now),
    )


def _row(execute: Execute, request: Request) -> str | None:
    if not request.key:
        return None
    row = execute("SELECT command, answer FROM request WHERE key = ?", (request.key,)).fetchone()
    return None if row is None or not Request(request.key, row[0]).same_key(request) else str(row[1])


def _to_json(answer: ModelState) -> str:
    rollout = answer.rollout
    said: dict[str, Any] = vars(answer) | {
        "live": _plain(answer.live),
        "last_good": _plain(answer.last_good),
        "quarantined": [_plain(item) for item in answer.quarantined],
    }
    if rollout is not None:
        said["rollout"] = vars(rollout) | {
            "candidate": _plain(rollout.candidate),
            "control": _plain(rollout.control),
            "plan": rollout.plan.model_dump(mode="json"),
            "readings": [vars(item) for item in rollout.readings],
            "paused_by": None if rollout.paused_by is None else rollout.paused_by.model_dump(),
        }
    return json.dumps(said)


def _from_json(text: str) -> ModelState:
    said = json.loads(text)
    rollout = said["rollout"]
    if rollout is not None:
        said["rollout"] = RolloutState(
            **rollout
            | {
                "candidate": _bundle(rollout["candidate"]),
                "control": _bundle(rollout["control"]),
                "plan": plans.read(rollout["plan"]),
                "held": None if rollout["held"] is None else State(rollout["held"]),
                "units": tuple(rollout["units"]),
                "readings": tuple(Reading(**item) for item in rollout["readings"]),
                "paused_by": None if rollout["paused_by"] is None else Actor(**rollout["paused_by"]),
            }
        )
    said["live"], said["last_good"] = _bundle(said["live"]), _bundle(said["last_good"])
    said["quarantined"] = tuple(BundleState(**item | {"state": State(item["state"])}) for item in said["quarantined"])
    said["legal"] = tuple(Command(item) for item in said["legal"])
    return ModelState(**said)


def _plain(item: BundleState | None) -> dict[str, Any] | None:
    return None if item is None else vars(item)


def _bundle(said: dict[str, Any] | None) -> BundleState | None:
    return None if said is None else BundleState(**said | {"state": State(said["state"])})
