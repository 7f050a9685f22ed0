"""What changes what is served: each command says who and why to `Rollouts`, which decides and records."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import TYPE_CHECKING, Any, Final, Protocol

from kedge.admin.handlers import Method
from kedge.admin.rollout_messages import model_message
from kedge.errors import Code, RequestError
from kedge.proto import admin as pb
from kedge.rollout import plan as plans

if TYPE_CHECKING:
    from kedge.admin.handlers import Call
    from kedge.bundle.store import Store
    from kedge.rollout.manager import Rollouts

MAX_REASON: Final = 1024
MAX_KEY: Final = 128
MAX_PLAN_BYTES: Final = 64 * 1024
_ID: Final = re.compile(r"[0-9a-f]{64}")


class _Said(Protocol):
    """What every command's request has."""

    reason: str
    idempotency_key: str


class Commands:
    """Deploy, Promote, Pause, Resume, Abort, Rollback, ClearQuarantine and DeleteBundle.

    Args:
        rollouts: who does it.
        store: where bundles are looked up.
    """

    def __init__(self, rollouts: Rollouts, store: Store) -> None:
        self._rollouts = rollouts
        self._store = store

    def methods(self) -> dict[str, Method]:
        """By name."""
        return {
            "Deploy": Method(pb.DeployRequest, self.deploy),
            "Promote": Method(pb.CommandRequest, self.promote),
            "Pause": Method(pb.CommandRequest, self.pause),
            "Resume": Method(pb.CommandRequest, self.resume),
            "Abort": Method(pb.CommandRequest, self.abort),
            "Rollback": Method(pb.RollbackRequest, self.rollback),
            "ClearQuarantine": Method(pb.ClearQuarantineRequest, self.clear_quarantine),
            "DeleteBundle": Method(pb.DeleteBundleRequest, self.delete),
        }

    def deploy(self, request: pb.DeployRequest, call: Call) -> pb.CommandResponse:
        """Answer Deploy."""
        said = _said(request, call)
        strategy = next((name for name in plans.STRATEGIES if name == request.strategy), None)
        if request.strategy and strategy is None:
            raise _invalid(f"'{_short(request.strategy)}' is no strategy; use {', '.join(plans.STRATEGIES)}")
        plan = _plan(request.plan) if request.plan else None
        return _answer(self._rollouts.deploy(self._identity(request.reference), strategy=strategy, plan=plan, **said))

    def promote(self, request: pb.CommandRequest, call: Call) -> pb.CommandResponse:
        """Answer Promote."""
        return _answer(self._rollouts.promote(request.model, **_said(request, call), expected=_expected(request)))

    def pause(self, request: pb.CommandRequest, call: Call) -> pb.CommandResponse:
        """Answer Pause."""
        return _answer(self._rollouts.pause(request.model, **_said(request, call), expected=_expected(request)))

    def resume(self, request: pb.CommandRequest, call: Call) -> pb.CommandResponse:
        """Answer Resume."""
        return _answer(self._rollouts.resume(request.model, **_said(request, call), expected=_expected(request)))

    def abort(self, request: pb.CommandRequest, call: Call) -> pb.CommandResponse:
        """Answer Abort."""
        return _answer(self._rollouts.abort(request.model, **_said(request, call), expected=_expected(request)))

    def rollback(self, request: pb.RollbackRequest, call: Call) -> pb.CommandResponse:
        """Answer Rollback."""
        said = _said(request, call, needed="a rollback")
        to = self._identity(request.to) if request.to else None
        return _answer(self._rollouts.rollback(request.model, to=to, **said, expected=_expected(request)))

    def clear_quarantine(self, request: pb.ClearQuarantineRequest, call: Call) -> pb.ClearQuarantineResponse:
        """Answer ClearQuarantine."""
        said = _said(request, call, needed="clearing a quarantine")
        identity = self._identity(request.reference)
        self._rollouts.clear_quarantine(identity, **said)
        return pb.ClearQuarantineResponse(bundle=identity)

    def delete(self, request: pb.DeleteBundleRequest, call: Call) -> pb.DeleteBundleResponse:
        """Answer DeleteBundle."""
        said = _said(request, call, needed="deleting a bundle")
        identity = self._identity(request.reference)
        self._rollouts.delete(identity, **said)
        return pb.DeleteBundleResponse(bundle=identity)

    def _identity(self, reference: str) -> str:
        """The id a reference means. A whole id is taken as it is: its bundle may be damaged, or deleted already."""
        return reference if _ID.fullmatch(reference) else self._store.get(reference).id


def check_reason(reason: str) -> str:
    """A reason that can stand in the audit log. Raises `RequestError`."""
    if len(reason) > MAX_REASON or any(unicodedata.category(char) == "Cc" for char in reason):
        raise _invalid(f"a reason is one line of at most {MAX_REASON} characters")
    return reason


def _said(request: _Said, call: Call, needed: str = "") -> dict[str, Any]:
    """Who, why and under which key, as every method of `Rollouts` takes them."""
    reason, key = check_reason(request.reason), request.idempotency_key
    if needed and not reason.strip():
        raise _invalid(f"{needed} needs a reason; it goes into the audit log")
    if len(key) > MAX_KEY or not key.isascii() or (key and not key.isprintable()):
        raise _invalid(f"an idempotency key is at most {MAX_KEY} printable ASCII characters")
    return {"by": call.caller.actor, "reason": reason, "key": key}


def _expected(request: pb.CommandRequest | pb.RollbackRequest) -> int | None:
    """Revision of the model that the command was decided on; None: any."""
    return request.expected_revision if request.HasField("expected_revision") else None


def _plan(text: str) -> plans.Plan:
    if len(text.encode()) > MAX_PLAN_BYTES:
        raise _invalid(f"a plan of more than {MAX_PLAN_BYTES} bytes")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _invalid("the plan is not JSON") from error
    if not isinstance(value, dict):
        raise _invalid("the plan is no JSON object")
    return plans.read(value)


def _answer(state: Any) -> pb.CommandResponse:
    return pb.CommandResponse(model=model_message(state))


def _short(text: str) -> str:
    return ascii(text)[1:-1][:100]


def _invalid(message: str) -> RequestError:
    return RequestError(Code.INVALID_ARGUMENT, message)
