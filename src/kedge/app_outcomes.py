"""Outcomes of a running server: labels from the data port into the book, and what they say to whom it concerns."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from kedge.app_outcomes_alerts import tell
from kedge.app_outcomes_labels import label, opened, unsealer
from kedge.app_outcomes_predicted import Predicted
from kedge.errors import BundleError, KedgeError
from kedge.monitor.outcomes.batch import Status
from kedge.monitor.outcomes.book import Book
from kedge.monitor.outcomes.database import Database
from kedge.monitor.outcomes.judge import condemns, judge
from kedge.monitor.outcomes.report import gather, split_units
from kedge.monitor.outcomes.slice_judge import judge_slices
from kedge.monitor.outcomes.target import Target
from kedge.monitor.outcomes.units import Split, Splits, rollout_name
from kedge.plane import token_keys
from kedge.plane.cold.outcomes import OutcomeCalls
from kedge.plane.contract import Arm
from kedge.proto import outcomes as pb
from kedge.rollout.reading import OutcomeStep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from kedge.alerts.service import Alerts, SinkStatus
    from kedge.monitor.outcomes.report import OutcomesReport, SplitUnits
    from kedge.monitor.verdict import Judgement
    from kedge.plane.contract import DataPlane, Handle
    from kedge.rollout.view import View

DATABASE: Final = "outcomes.db"
"""In the state directory: which labels were taken, and what they add up to."""
KEYS: Final = "keys"
COUNT_SECONDS: Final = 10.0
"""Between two looks at how much was predicted, and at verdicts."""
_PROTO: Final = {status: pb.OutcomeStatus.Value(status.name) for status in Status}

log = logging.getLogger(__name__)


class Outcomes:
    """Everything about outcomes of one server.

    `seal` gives the plane its key; `start` needs the plane's cold calls and ends with `stop`.

    Args:
        directory: the state directory, locked by this process.
        plane: who seals, and whose calls are answered.
        view: of the server.
        alerts: told of verdicts.
        clock: seconds since 1970.

    Raises:
        KedgeError: keys or database cannot be used.
    """

    def __init__(
        self, directory: Path, plane: DataPlane, view: View, alerts: Alerts, clock: Callable[[], float]
    ) -> None:
        self._plane = plane
        self._view = view
        self._alerts = alerts
        self._clock = clock
        self._directory = directory / KEYS
        self._keys = token_keys.load(self._directory, clock)
        self._unseal = unsealer(plane.name)
        plane.configure(tokens=self._keys.tokens)
        self._database = Database(directory / DATABASE)
        self._splits = Splits(self._database)
        self._targets: dict[str, Target | None] = {}
        arms = [arm.name.lower() for arm in sorted(Arm)]
        self._book = Book(self._database, self._target, self._splits, arms, clock)
        self._predicted = Predicted(self._of)
        self._count_at = 0.0
        self._confided: dict[int, float] = {}
        self._verdicts: tuple[Judgement, ...] = ()
        self._steps: dict[tuple[str, str, bytes], tuple[OutcomeStep, ...]] = {}
        self.calls = OutcomeCalls(plane, self._take, self._tend)

    def stop(self) -> None:
        """End the thread and close the file; what waits was not taken, and its senders know."""
        self.calls.stop()
        self._database.close()

    def reports(self) -> tuple[OutcomesReport, ...]:
        """What labels say of every bundle that answers and collects them. Thread-safe."""
        return self._gathered(dict.fromkeys(handle.bundle for handle in self._handles()))

    def history(self, model: str = "") -> tuple[OutcomesReport, ...]:
        """The same, and of bundles that answered before and are in the store; of one model or all. Thread-safe.

        Raises:
            NotLiveError: no such model is live.
        """
        if model:
            self._view.live(model)
        known = dict.fromkeys([*(handle.bundle for handle in self._handles()), *self._database.bundles()])
        return tuple(report for report in self._gathered(known) if model in ("", report.target.model))

    def forget(self, bundle: str) -> None:
        """A bundle was deleted: labels for it are of an unknown one from now on. Thread-safe."""
        self._targets.pop(bundle[:16], None)

    def _gathered(self, bundles: Iterable[str]) -> tuple[OutcomesReport, ...]:
        targets = map(self._of, bundles)
        return tuple(gather(self._database, target, self._clock()) for target in targets if target is not None)

    def statuses(self) -> dict[tuple[str, str], int]:
        """Labels that ever came, by bundle id (empty where it is not known) and status. Thread-safe."""
        return self._database.statuses()

    def sinks(self) -> tuple[SinkStatus, ...]:
        """How every sink of alerts stands. Thread-safe."""
        return self._alerts.status()

    def verdicts(self) -> tuple[Judgement, ...]:
        """How accuracy and coverage stand in every arm that is judged, as of a few seconds ago. Never waits."""
        return self._verdicts

    def steps(self, candidate: str, control: str, salt: bytes) -> tuple[OutcomeStep, ...]:
        """Labelled units of a rollout, for its guard on outcomes: those of a few seconds ago, without a wait.

        Args:
            candidate: bundle id.
            control: bundle id.
            salt: of the rollout.

        Returns:
            Empty where one of them collects no outcomes or predicts values, which are not right or wrong.
        """
        return self._steps.setdefault((candidate, control, salt), ())

    def _handles(self) -> Iterator[Handle]:
        for route in self._view.table().routes:
            yield from (arm.handle for arm in route.arms)
            yield from route.pinned

    def _of(self, bundle: str) -> Target | None:
        """What is known of a bundle; None if it collects no outcomes or is in the store no more."""
        prefix = bundle[:16]
        if prefix not in self._targets:
            try:
                self._targets[prefix] = Target.of(self._view.bundle(bundle))
            except BundleError:
                return None
        return self._targets.get(prefix)

    def _target(self, prefix: str) -> Target | None:
        """The same of a bundle whose id begins like this."""
        if prefix not in self._targets:
            for bundle in self._view.stored():
                if bundle.id.startswith(prefix):
                    self._targets[prefix] = Target.of(bundle)
        return self._targets.get(prefix)

    def _take(self, outcomes: Sequence[pb.Outcome]) -> list[int]:
        self._note_splits()
        table = self._unseal([outcome.prediction_id for outcome in outcomes], self._keys.keys)
        statuses = self._book.take(opened(table), [label(outcome) for outcome in outcomes])
        return [_PROTO[status] for status in statuses]

    def _tend(self) -> None:
        """Once a second."""
        self._note_splits()
        now = self._clock()
        if abs(now - self._count_at) >= COUNT_SECONDS:
            self._count_at = now
            routed = {handle.bundle for handle in self._handles()}
            known = sorted(routed | set(self._database.bundles()))
            targets = [target for bundle in known if (target := self._of(bundle)) is not None]
            self._book.tend(targets, *self._predicted.grown(self._view.totals()))
            self._predicted.kept()  # a full disk loses none of them
            self._judge()
            self._gather(routed)
        self._confide()
        if now >= self._keys.rotate_at:
            self._keys = token_keys.rotate(self._directory, self._clock, boot=self._keys.tokens.boot)
            self._plane.configure(tokens=self._keys.tokens)
            log.info("prediction ids are sealed with a new key", extra={"data": {"key": self._keys.tokens.key.id}})

    def _note_splits(self) -> None:
        """Keep how traffic is randomised: labels come when the epoch is long over."""
        for route in self._view.table().routes:
            if len(route.arms) > 1:
                shares: dict[str, float] = {}
                for arm in route.arms:
                    name = arm.arm.name.lower()
                    shares[name] = shares.get(name, 0.0) + arm.share
                split = Split.of(route.model, route.salt, route.sticky_for, shares)
                for arm in route.arms:
                    self._splits.saw(arm.handle.bundle, route.epoch & 0xFFFFFFFF, split)

    def _confide(self) -> None:
        """Give the plane the thresholds that outcomes moved."""
        for handle in self._handles():
            target = self._of(handle.bundle)
            if target is None or not target.confidence.adaptive:
                continue
            alpha = self._book.alpha(target)
            threshold = target.threshold(alpha)
            if threshold is not None and self._confided.get(handle.key, target.confidence.alpha) != alpha:
                self._plane.confide(handle, threshold)
                self._confided[handle.key] = alpha

    def _gather(self, routed: set[str]) -> None:
        """Labelled units of the rollouts that were asked for."""
        for key in list(self._steps):
            candidate, control, salt = key
            if not {candidate, control} <= routed:
                del self._steps[key]
                continue
            trial, known = self._of(candidate), self._of(control)
            if trial is not None and known is not None and not trial.values and not known.values:
                rollout = rollout_name(trial.model, salt)
                found = split_units(self._database, self._splits, trial, known, rollout=rollout, now=self._clock())
                self._steps[key] = tuple(map(_outcome_step, found))

    def _judge(self) -> None:
        reports = self.reports()
        judged = [(judge(report), judge_slices(report)) for report in reports]
        # Slices are many: those that are fine are in the report alone.
        self._verdicts = tuple(
            item for found, slices in judged for item in (*found, *(one for one in slices if one.verdict.problem))
        )
        for report, (found, _) in zip(reports, judged, strict=True):
            for item in found:
                if condemns(report.target, item):
                    numbers = {"wrong": str(int(item.statistic)), "labelled": str(item.rows), "line": repr(item.line)}
                    try:
                        self._view.rollouts.distrust(item.bundle, item.reasons[0], numbers)
                    except KedgeError as error:
                        log.error("a bundle that its labels condemn is not taken back: %s", error)  # noqa: TRY400 - it says all
        # Only then: alerts may be what cannot be written.
        for report, (found, slices) in zip(reports, judged, strict=True):
            tell(self._alerts, self._view.bundle(report.target.bundle), (*found, *slices))


def _outcome_step(units: SplitUnits) -> OutcomeStep:
    """By the first label of each unit, which every unit has one of."""
    canary, control = units.canary, units.control
    return OutcomeStep(
        share=units.share,
        canary_wrong=canary.first_wrong,
        canary_right=canary.units - canary.first_wrong,
        control_wrong=control.first_wrong,
        control_right=control.units - control.first_wrong,
    )
