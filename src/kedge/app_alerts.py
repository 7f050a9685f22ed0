"""From verdicts to alerts: what the evaluator says, in the words of `kedge.alerts`. Neither room knows the other."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from kedge.alerts.model import Cause, Finding, Origin, Severity, fingerprint
from kedge.bundle.manifest import Owners
from kedge.errors import BundleError, KedgeError
from kedge.monitor import verdict as v

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kedge.alerts.service import Alerts
    from kedge.monitor.verdict import Judgement
    from kedge.rollout.notice import Notice
    from kedge.rollout.view import View

SOURCE: Final = "monitor"
BY_TEST: Final = {
    "missing": Cause.MISSING,
    "invalid": Cause.INVALID,
    "unseen": Cause.UNSEEN,
    "out of range": Cause.OUT_OF_RANGE,
    "errors": Cause.ERRORS,
    "latency": Cause.LATENCY,
    "refusals": Cause.SCHEMA,
}
BY_CAUSE: Final = {
    v.Cause.DATA: Cause.INPUT_DRIFT,
    v.Cause.PIPELINE: Cause.PIPELINE,
    v.Cause.SYSTEM: Cause.ERRORS,
}
SEVERITY: Final = {v.Verdict.WARN: Severity.WARNING, v.Verdict.CRITICAL: Severity.CRITICAL}
PAGES: Final = {
    "rolled back": (Cause.ROLLBACK, Severity.CRITICAL),
    "quarantined": (Cause.ROLLBACK, Severity.CRITICAL),
    "held": (Cause.CANARY, Severity.WARNING),
}
"""What a notice of the rollout manager becomes."""
ENDED: Final = {
    "rolled back": (Cause.CANARY,),
    "quarantined": (Cause.CANARY,),
    "went on": (Cause.CANARY,),
    "cleared": (Cause.ROLLBACK, Cause.CANARY),
}
"""What it ends: a rollout that waits for nobody any more must not remind people, and may have to page them again."""
SUBJECT: Final = "rollout"
AUDIT_LOG: Final = "audit log"
COMPLAINT: Final = "verdicts do not become alerts for now; evaluation goes on"
COMPLAIN_SECONDS: Final = 60.0
"""Between two log lines about the same trouble: it is met once a second, and a full disk should not fill faster."""
WAITING: Final = 1000
"""Notices that wait at most, while alerts cannot be written."""
RETRY_SECONDS: Final = 1.0
"""Before a notice that could not be written, because the disk is full, is tried again: nobody else will tell."""

log = logging.getLogger(__name__)


class VerdictAlerts:
    """Has the counts looked at and passes on what was found. Used by one thread.

    Args:
        view: of the server.
        alerts: told of every problem of the bundles that are routed.
        monotonic: seconds.
    """

    def __init__(self, view: View, alerts: Alerts, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._view = view
        self._alerts = alerts
        self._monotonic = monotonic
        self._routed: frozenset[str] | None = None
        self._complaint: tuple[str, float] | None = None

    def look(self) -> None:
        """Evaluate once, then tell. What cannot be told is logged, and told by the next look: evaluation goes on."""
        problems = self._view.evaluate()
        try:
            self._tell(problems)
        except KedgeError as error:
            if self._news(error):
                log.error(COMPLAINT, extra={"data": {"reason": str(error)}})  # noqa: TRY400 - the reason says it all
        except Exception as error:  # a fault of ours in alerting must not end evaluation
            if self._news(error):
                log.exception(COMPLAINT)
        else:
            self._complaint = None

    def _tell(self, problems: Iterable[Judgement]) -> None:
        routed = frozenset(arm.handle.bundle for route in self._view.table().routes for arm in route.arms)
        if routed != self._routed:
            self._alerts.retain(routed)
            self._routed = routed
        # A bundle without a problem or an alert has nothing to say, and to judge thousands of lines in full costs time.
        troubled = {item.bundle for item in problems} | {alert.bundle for alert in self._alerts.active()}
        for identity in sorted(routed & troubled):
            manifest = self._view.bundle(identity).manifest
            judgements = self._view.evaluator.judgements([identity])
            self._alerts.observe(
                Origin(manifest.name, manifest.version, identity, manifest.owners),
                SOURCE,
                [finding(item) for item in judgements if item.verdict.problem],
                judged={subject(item) for item in judgements if item.verdict is not v.Verdict.INSUFFICIENT},
            )

    def _news(self, error: Exception) -> bool:
        """Whether the log has not said so lately."""
        text, now = repr(error), self._monotonic()
        if self._complaint is not None and self._complaint[0] == text and now - self._complaint[1] < COMPLAIN_SECONDS:
            return False
        self._complaint = (text, now)
        return True


class RolloutAlerts:
    """Pages people about rollbacks and rollouts that wait for them. Thread-safe; `tell` never blocks or raises.

    Attributes:
        dropped: notices that made room for newer ones, because alerts could not be written for long.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._news: deque[Notice] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()

    def tell(self, notice: Notice) -> None:
        """Take a notice; what comes before `start` is told then."""
        with self._changed:
            if len(self._news) >= WAITING:
                # The same said of the same bundle since is worth as much; else what is oldest.
                key = _key(notice)
                del self._news[next((at for at, one in enumerate(self._news) if _key(one) == key), 0)]
                self.dropped += 1
                if self.dropped % WAITING == 1:
                    log.error("alerts cannot be written, notices are dropped: %d so far", self.dropped)
            self._news.append(notice)
            self._changed.notify()

    def start(self, view: View, alerts: Alerts) -> None:
        """Begin to pass notices on; once."""
        self._thread = threading.Thread(target=self._run, args=(view, alerts), name="kedge-notices", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, once everything that was told is passed on; what cannot be written then is in the log alone."""
        if self._thread is not None:
            self._ending.set()
            with self._changed:
                self._changed.notify()
            self._thread.join()

    def _run(self, view: View, alerts: Alerts) -> None:
        while (notice := self._next()) is not None:
            reason = _try(notice, view, alerts)
            while reason and not self._ending.is_set():
                self._ending.wait(RETRY_SECONDS)
                reason = _try(notice, view, alerts, said=reason)
            if reason:
                log.error("a notice was not passed on: %s", notice, extra={"data": {"reason": reason}})

    def _next(self) -> Notice | None:
        """The oldest that waits; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._news or self._ending.is_set())
            return self._news.popleft() if self._news else None


def _key(notice: Notice) -> tuple[str, str]:
    return notice.bundle.id, notice.kind


def _try(notice: Notice, view: View, alerts: Alerts, *, said: str = "") -> str:
    """Pass a notice on; why it has to be tried again, empty where it has not. `said` is the reason that was logged."""
    try:
        _pass_on(notice, view, alerts)
    except KedgeError as error:
        if str(error) != said:
            log.error("a notice waits: %s", notice, extra={"data": {"reason": str(error)}})  # noqa: TRY400 - it says all
        return str(error)
    except Exception:  # a fault of ours in alerting must not end it
        log.exception("a notice was not passed on: %s", notice)
    return ""


def _pass_on(notice: Notice, view: View, alerts: Alerts) -> None:
    item = notice.bundle
    if notice.kind in PAGES:
        cause, severity = PAGES[notice.kind]
        origin = Origin(item.model, item.version, item.id, _owners(view, item.id))
        alerts.fire(origin, Finding(cause, SUBJECT, severity, f"{item} {notice.kind}: {notice.words}", notice.words))
    for ended in ENDED.get(notice.kind, ()):
        alerts.resolve(fingerprint(item.model, item.id, ended, SUBJECT))


def _owners(view: View, identity: str) -> Owners:
    """Of a bundle; nobody in particular where it is deleted or damaged, which is no reason to page nobody at all."""
    try:
        return view.bundle(identity).manifest.owners
    except BundleError:
        return Owners()


def tell_of_log(view: View, alerts: Alerts, fault: str) -> None:
    """Page the owners of what is live about an audit log that cannot be gone on with; or that it can again.

    Args:
        view: of the server.
        alerts: told.
        fault: why nothing can be recorded; empty where it can.
    """
    for live in view.rollouts.live():
        manifest = live.bundle.manifest
        if not fault:
            alerts.resolve(fingerprint(manifest.name, live.bundle.id, Cause.AUDIT, AUDIT_LOG))
            continue
        words = f"nothing can be changed while the audit log cannot be written: {fault}"
        origin = Origin(manifest.name, manifest.version, live.bundle.id, manifest.owners)
        alerts.fire(origin, Finding(Cause.AUDIT, AUDIT_LOG, Severity.CRITICAL, words, words))


def subject(item: Judgement) -> str:
    """What a judgement is about, such as ``live feature temp``; unique within a bundle."""
    return f"{item.arm} {item.subject} {item.name}"


def finding(item: Judgement) -> Finding:
    """What a judgement that is WARN or CRITICAL means to whoever owns the problem."""
    if item.cause is v.Cause.MODEL:
        cause = Cause.CONFIDENCE if item.subject == "confidence" else Cause.PREDICTION_DRIFT
    else:
        cause = BY_TEST.get(item.test) or BY_CAUSE[item.cause]
    # Shares too close for words leave a drift without a reason; the test that decided is one then.
    reasons = item.reasons or (item.test,)
    return Finding(
        cause,
        subject(item),
        SEVERITY[item.verdict],
        f"{item.model} {item.version} ({item.arm}): {item.subject} {item.name}: {reasons[0]}",
        "\n".join(reasons),
    )
