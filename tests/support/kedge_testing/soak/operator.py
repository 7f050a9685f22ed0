"""Swaps, canaries and shadows by the admin port, and what each command must lead to."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from kedge.client import AdminClient
from kedge.errors import KedgeError
from kedge_testing.soak import zoo
from kedge_testing.soak.world import PATIENCE

if TYPE_CHECKING:
    import numpy as np

    from kedge_testing.soak.life import Life
    from kedge_testing.soak.world import World

UNDER_WAY: Final = ("SHADOW", "CANARY", "BAKING", "PAUSED")
GUARDS: Final = (
    "errors", "timeouts", "refusals", "invalid", "slow", "outcomes", "sample_ratio", "distribution", "confidence",
    "disagreement", "difference", "failed",
)  # fmt: skip
OFF: Final = {name: {"enabled": False} for name in GUARDS}
STILL: Final[dict[str, Any]] = {
    "steps": [{"share": 0.4, "min_seconds": 3600, "proof": False}],
    "baking": {"keep": 0.2, "seconds": 3600},
    "guards": OFF,
}
"""Goes on when it is told to, and at no other time."""
SHADOW: Final[dict[str, Any]] = {"strategy": "shadow", "shadow": {"min_seconds": 3600}}
GUARDED: Final[dict[str, Any]] = {
    "steps": [
        {"share": 0.2, "units": 20, "min_seconds": 1},
        {"share": 0.6, "units": 40, "min_seconds": 1, "proof": False},
    ],
    "baking": {"keep": 0.2, "seconds": 1, "units": 20},
    "guards": {name: OFF[name] for name in ("distribution", "confidence", "disagreement", "difference")},
}
"""Goes on by itself, a step a look, with the guards on harm; the versions differ in their scores."""


class Operator:
    """Commands to one server after another.

    Attributes:
        rolled_back: bundles taken from traffic by `rollback`, by model and version: each pages somebody.
    """

    def __init__(self, world: World, chance: np.random.Generator) -> None:
        self._world = world
        self._chance = chance
        self.rolled_back: Counter[str] = Counter()

    def admin(self, life: Life) -> AdminClient:
        return AdminClient(life.admin, timeout=PATIENCE)

    def standings(self, life: Life) -> dict[str, tuple[str, str, str]]:
        """Live version, candidate and the candidate's state, by model."""
        with self.admin(life) as admin:
            return {
                model.model: (model.version, model.rollout.version, model.rollout.state)
                for model in admin.status().models
            }

    def rollout(self, life: Life) -> None:
        """One rollout from start to end, of a kind and with an end that are drawn."""
        kinds = ("swap", "swapped back", "promoted", "aborted", "rolled back", "paused", "shadow", "guarded")
        kind = str(self._chance.choice(kinds))
        with self.admin(life) as admin:
            name, candidate = self._candidate(admin)
            getattr(self, f"_{kind.replace(' ', '_')}")(admin, name, candidate)
            self.clear(admin)
        self._world.add(f"rollouts {kind}")

    def canary(self, life: Life) -> tuple[str, str]:
        """A canary, or a shadow, that is left under way; model and version."""
        with self.admin(life) as admin:
            name, candidate = self._candidate(admin)
            shadow = self._chance.random() < 0.3
            self._deploy(admin, name, candidate, STILL | (SHADOW if shadow else {}), "shadow" if shadow else "canary")
            self._sees(admin, name, "SHADOW" if shadow else "CANARY", candidate)
        self._world.add("rollouts left under way")
        return name, candidate

    def end(self, life: Life, name: str) -> None:
        """End what is under way, by a rollback."""
        with self.admin(life) as admin:
            self._rollback(admin, name)
            self._sees(admin, name, "QUARANTINED")

    def clear(self, admin: AdminClient) -> None:
        """Let every bundle be deployed again, and nothing be under way."""
        for model in admin.status().models:
            if "abort" in model.legal:
                admin.abort(model.model, reason="the soak: a new beginning")
                self._world.add("rollouts aborted after a start")
            for one in model.quarantined:
                admin.clear_quarantine(one.bundle, reason="the soak: once more")

    def _candidate(self, admin: AdminClient) -> tuple[str, str]:
        """A model, and the version that is not live."""
        self.clear(admin)
        name = str(self._chance.choice(zoo.COMPARED, p=[0.45, 0.45, 0.1]))
        (model,) = admin.status(name).models
        (other,) = {*zoo.VERSIONS} - {model.version}
        admin.upload(self._world.zoo.models[name].versions[other].archive)
        return name, other

    def _deploy(self, admin: AdminClient, name: str, version: str, plan: dict[str, Any] | None, strategy: str) -> None:
        admin.deploy(f"{name}-{version}", strategy=strategy, plan=plan, reason="the soak")

    def _rollback(self, admin: AdminClient, name: str) -> None:
        (model,) = admin.status(name).models
        under_way = model.rollout.state in UNDER_WAY
        taken = model.rollout.version if under_way else model.version
        admin.rollback(name, reason="the soak")
        self.rolled_back[f"{name} {taken}"] += 1

    def _sees(self, admin: AdminClient, name: str, state: str, candidate: str = "", live: str = "") -> None:
        """The rollout stands there, and traffic flows meanwhile."""
        (model,) = admin.status(name).models
        got = model.rollout.state, candidate and model.rollout.version, live and model.version
        if got != (state, candidate, live):
            self._world.wrong("operator", f"{name} {(state, candidate, live)}", f"{got}: {model.rollout.decision}")
        self._world.stop.wait(float(self._chance.uniform(0.2, 1.0)))

    def _swap(self, admin: AdminClient, name: str, other: str) -> None:
        self._deploy(admin, name, other, None, "swap")
        self._sees(admin, name, "LIVE", other, other)

    def _swapped_back(self, admin: AdminClient, name: str, other: str) -> None:
        before = admin.status(name).models[0].version
        self._swap(admin, name, other)
        self._rollback(admin, name)
        self._sees(admin, name, "QUARANTINED", other, before)

    def _promoted(self, admin: AdminClient, name: str, other: str) -> None:
        self._deploy(admin, name, other, STILL, "canary")
        for state in ("CANARY", "BAKING", "LIVE"):
            self._sees(admin, name, state, other)
            if state != "LIVE":
                admin.promote(name, reason="the soak")

    def _aborted(self, admin: AdminClient, name: str, other: str) -> None:
        self._deploy(admin, name, other, STILL, "canary")
        self._sees(admin, name, "CANARY", other)
        admin.abort(name, reason="the soak")
        self._sees(admin, name, "ABORTED", other)

    def _rolled_back(self, admin: AdminClient, name: str, other: str) -> None:
        self._deploy(admin, name, other, STILL, "canary")
        self._sees(admin, name, "CANARY", other)
        self._rollback(admin, name)
        self._sees(admin, name, "QUARANTINED", other)

    def _paused(self, admin: AdminClient, name: str, other: str) -> None:
        self._deploy(admin, name, other, STILL, "canary")
        for command, state in (("pause", "PAUSED"), ("resume", "CANARY"), ("abort", "ABORTED")):
            getattr(admin, command)(name, reason="the soak")
            self._sees(admin, name, state, other)

    def _shadow(self, admin: AdminClient, name: str, other: str) -> None:
        self._deploy(admin, name, other, STILL | SHADOW, "shadow")
        for state in ("SHADOW", "CANARY", "BAKING", "LIVE"):
            self._sees(admin, name, state, other)
            if state != "LIVE":
                admin.promote(name, reason="the soak")

    def _guarded(self, admin: AdminClient, name: str, other: str) -> None:
        """However it ends: one in a hundred may be rolled back, and where little is asked it may take its time."""
        self._deploy(admin, name, other, GUARDED, "canary")
        end = time.monotonic() + 15
        while not (model := admin.status(name).models[0]).rollout.over and time.monotonic() < end:
            self._world.stop.wait(0.2)
        if not model.rollout.over:
            try:
                admin.abort(name, reason="the soak: long enough")
            except KedgeError:  # it ended this moment
                model = admin.status(name).models[0]
                if not model.rollout.over:
                    raise
        self._world.add(f"guarded rollouts {model.rollout.state}")
        if model.rollout.state == "QUARANTINED":
            self.rolled_back[f"{name} {other}"] += 1
