"""What the manager knows of models and rollouts, and how it is written down."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kedge.audit.record import Actor
from kedge.plane.evidence import WORDS, Evidence
from kedge.rollout import plan as plans
from kedge.rollout.reading import Baseline, Judged, Reading, StepEvidence
from kedge.rollout.states import State
from kedge.rollout.values import BundleState

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping

    from kedge.rollout.plan import Plan

    Execute = Callable[..., sqlite3.Cursor]


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """A rollout.

    Attributes:
        number: from 1, over all models.
        bundle: id of the candidate.
        control: id of the bundle it is compared with; empty where the model had none.
        plan: that is followed.
        held: the state that PAUSED holds, or None.
        step, share: as in `kedge.rollout.stages.Stage`.
        withdrawn: it is paused without traffic, because the server restarted.
        salt: of its sticky keys: 16 bytes, new for each rollout.
        slow_ns: by batch-size bucket, above which a run counts as slow, 0 where not known; frozen for a stretch.
        baseline: the control's rates before it, frozen; the layout of scores is not written down with it.
        started, step_started: seconds since 1970.
        evidence: by stage, as it was when this was written.
        shadow: the shadow's cell, as it was then.
        readings: of every guard, as last read.
        decision: what was decided last and why.
        paused_by: who paused it, or None.
        accepted: guards that a person looked at and let pass.
        resumed: when a person last resumed it.
        by: who started it.
        ended: it is over.
    """

    number: int
    bundle: str
    control: str
    plan: Plan
    salt: bytes
    started: float
    step_started: float
    by: Actor
    held: State | None = None
    step: int = 0
    share: float = 0.0
    withdrawn: bool = False
    slow_ns: tuple[int, ...] = ()
    baseline: Baseline = field(default_factory=Baseline)
    evidence: tuple[StepEvidence, ...] = ()
    shadow: Evidence | None = None
    readings: tuple[Reading, ...] = ()
    decision: str = ""
    paused_by: Actor | None = None
    accepted: frozenset[str] = frozenset()
    resumed: float | None = None
    ended: bool = False


@dataclass(frozen=True)
class Model:
    """A model. Bundles are ids, empty where there is none; `rollout` is the one under way or the last one."""

    name: str
    live: str = ""
    last_good: str = ""
    epoch: int = 0
    since: float = 0.0
    revision: int = 0
    rollout: Rollout | None = None

    @property
    def under_way(self) -> Rollout | None:
        """The rollout, unless it has ended."""
        return None if self.rollout is None or self.rollout.ended else self.rollout


@dataclass(frozen=True)
class Books:
    """Everything known: models by name, bundles that were ever deployed by id. Replaced, never changed."""

    models: Mapping[str, Model]
    bundles: Mapping[str, BundleState]

    def having(self, model: Model, bundles: tuple[BundleState, ...]) -> Books:
        """These books with a model and some bundles as they are now."""
        return Books({**self.models, model.name: model}, {**self.bundles, **{item.id: item for item in bundles}})


def save(execute: Execute, model: Model, bundles: tuple[BundleState, ...]) -> None:
    """Write a model, its rollout and some bundles, inside a transaction."""
    execute(
        "INSERT INTO model (name, live, last_good, epoch, since, revision) VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (name) DO UPDATE SET live = excluded.live, last_good = excluded.last_good, "
        "epoch = excluded.epoch, since = excluded.since, revision = excluded.revision",
        (model.name, model.live, model.last_good, model.epoch, model.since, model.revision),
    )
    for item in bundles:
        execute(
            "INSERT INTO bundle (id, model, version, state, since, reason) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) "
            "DO UPDATE SET state = excluded.state, since = excluded.since, reason = excluded.reason",
            (item.id, item.model, item.version, item.state.value, item.since, item.reason),
        )
    rollout = model.rollout
    if rollout is not None:
        execute(
            "INSERT INTO rollout (id, model, bundle, ended, body) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE "
            "SET ended = excluded.ended, body = excluded.body",
            (rollout.number, model.name, rollout.bundle, int(rollout.ended), _body(rollout)),
        )


def load_models(execute: Execute) -> dict[str, Model]:
    """Models without their rollouts. Raises `sqlite3.Error` where the database is damaged."""
    rows = execute("SELECT name, live, last_good, epoch, since, revision FROM model ORDER BY name").fetchall()
    return {row[0]: Model(row[0], row[1], row[2], row[3], row[4], row[5]) for row in rows}


def load(execute: Execute, models: Mapping[str, Model]) -> Books:
    """These models with their rollouts, and every bundle.

    Raises:
        sqlite3.Error: the database is damaged.
        ValueError: a row is not what `save` writes.
    """
    bundles = {
        row[0]: BundleState(row[0], row[1], row[2], State(row[3]), row[4], row[5])
        for row in execute("SELECT id, model, version, state, since, reason FROM bundle ORDER BY id").fetchall()
    }
    rows = execute(
        "SELECT id, model, bundle, ended, body FROM rollout WHERE id IN (SELECT MAX(id) FROM rollout GROUP BY model)"
    ).fetchall()
    newest = {row[1]: _rollout(row) for row in rows}
    return Books({name: replace(model, rollout=newest.get(name)) for name, model in models.items()}, bundles)


def plan_of(execute: Execute, bundle: str) -> Plan | None:
    """The plan of the last rollout of a bundle. Raises as `load`."""
    row = execute("SELECT body FROM rollout WHERE bundle = ? ORDER BY id DESC LIMIT 1", (bundle,)).fetchone()
    return None if row is None else plans.read(json.loads(row[0])["plan"])


def newest_rollout(execute: Execute) -> int:
    """The highest number a rollout ever had; 0 without any."""
    (number,) = execute("SELECT COALESCE(MAX(id), 0) FROM rollout").fetchone()
    return int(number)


def _body(rollout: Rollout) -> str:
    return json.dumps(
        {
            "control": rollout.control,
            "plan": rollout.plan.model_dump(mode="json"),
            "salt": rollout.salt.hex(),
            "started": rollout.started,
            "step_started": rollout.step_started,
            "by": rollout.by.model_dump(),
            "held": rollout.held,
            "step": rollout.step,
            "share": rollout.share,
            "withdrawn": rollout.withdrawn,
            "slow_ns": rollout.slow_ns,
            "baseline": {
                "rates": dict(rollout.baseline.rates),
                "blind": sorted(rollout.baseline.blind),
                "together": dict(rollout.baseline.together),
            },
            "evidence": [_step(item) for item in rollout.evidence],
            "shadow": None if rollout.shadow is None else rollout.shadow.words.tolist(),
            "readings": [vars(item) for item in rollout.readings],
            "decision": rollout.decision,
            "paused_by": None if rollout.paused_by is None else rollout.paused_by.model_dump(),
            "accepted": sorted(rollout.accepted),
            "resumed": rollout.resumed,
        }
    )


def _rollout(row: tuple[Any, ...]) -> Rollout:
    number, _, bundle, ended, body = row
    said = json.loads(body)
    return Rollout(
        number=number,
        bundle=bundle,
        control=said["control"],
        plan=plans.read(said["plan"]),
        salt=bytes.fromhex(said["salt"]),
        started=said["started"],
        step_started=said["step_started"],
        by=Actor(**said["by"]),
        held=None if said["held"] is None else State(said["held"]),
        step=said["step"],
        share=said["share"],
        withdrawn=said["withdrawn"],
        slow_ns=tuple(said["slow_ns"]),
        baseline=_baseline(said["baseline"]),
        evidence=tuple(_evidence(item) for item in said["evidence"]),
        shadow=None if said["shadow"] is None else _block(said["shadow"]),
        readings=tuple(Reading(**item) for item in said["readings"]),
        decision=said["decision"],
        paused_by=None if said["paused_by"] is None else Actor(**said["paused_by"]),
        accepted=frozenset(said["accepted"]),
        resumed=said["resumed"],
        ended=bool(ended),
    )


def _baseline(said: dict[str, Any]) -> Baseline:
    return Baseline(said["rates"], frozenset(said["blind"]), together=said["together"])


def _step(item: StepEvidence) -> dict[str, Any]:
    return {
        "index": item.index,
        "share": item.share,
        "canary": item.canary.words.tolist(),
        "control": item.control.words.tolist(),
        "judged": [vars(one) for one in item.judged],
        "covered": item.covered,
    }


def _evidence(said: dict[str, Any]) -> StepEvidence:
    """Rows of releases that did not count judged units have none: nothing of them was judged."""
    canary, control = (_block(said[arm]) for arm in ("canary", "control"))
    judged = tuple(Judged(**one) for one in said.get("judged", ()))
    return StepEvidence(said["index"], said["share"], canary, control, judged, tuple(said.get("covered", (0, 0))))


def _block(words: list[int]) -> Evidence:
    return Evidence(np.array([*words, *[0] * (WORDS - len(words))], dtype=np.int64))
