"""What was sent to one server, and what came back: by bundle and arm, and by row of the table."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from kedge_testing.soak import zoo

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from kedge.client import Result
    from kedge_testing.soak.life import Life
    from kedge_testing.soak.world import World


@dataclass(frozen=True, eq=False)
class Asked:
    """A request: which rows of a model's table, and how.

    Attributes:
        version: named by the client; empty: the route decides.
        spoilt: it cannot be answered: one of its inputs has a datatype that the model does not take.
    """

    model: zoo.Model
    rows: NDArray[np.int64]
    identity: str
    version: str = ""
    key: str | None = None
    ids: bool = False
    spoilt: bool = False


@dataclass(eq=False)
class Tally:
    """Answers of one server that clients have in hand. Rows are [ROWS]: how often each of the table was answered."""

    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    rows: dict[tuple[str, str], NDArray[np.int64]] = field(
        default_factory=lambda: defaultdict(lambda: np.zeros(zoo.ROWS, np.int64))
    )
    refused: Counter[str] = field(default_factory=Counter)

    def counted(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Requests and rows by bundle id and arm."""
        return {key: (count, int(self.rows[key].sum())) for key, count in self.requests.items()}


class Ledger:
    """Settles every request with its answer. Thread-safe.

    Attributes:
        labels: prediction ids with a label to report: (id, label, model).
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._lock = threading.Lock()
        self._ids: set[int] = set()
        self.labels: list[tuple[str, Any, str]] = []

    def answered(self, who: str, life: Life, asked: Asked, got: Result) -> None:
        """An OK answer arrived."""
        model, world = asked.model, self._world
        wrong = model.wrong(got.model_version, asked.rows, got.outputs)
        if not wrong and got.id != asked.identity:
            wrong = f"an answer to '{got.id}'"
        if not wrong and got.bundle != model.versions[got.model_version].bundle.id:
            wrong = f"bundle {got.bundle[:12]} for version {got.model_version}"
        if not wrong and asked.version and (got.model_version, got.arm) != (asked.version, "pinned"):
            wrong = f"{got.model_version} as {got.arm}, though version {asked.version} was named"
        wanted = len(asked.rows) if asked.ids else int(len(asked.rows) == 1)
        if not wrong and len(got.prediction_ids) != wanted:
            wrong = f"{len(got.prediction_ids)} prediction ids, not {wanted}"
        if wrong or asked.spoilt:
            world.wrong(who, f"the answer to '{asked.identity}' of {model.name}", wrong or "OK for a wrong datatype")
        key = got.bundle, got.arm
        with self._lock:
            before = len(self._ids)
            self._ids.update(hash(one) for one in got.prediction_ids)
            doubled = before + len(got.prediction_ids) - len(self._ids)
            life.tally.requests[key] += 1
            life.tally.rows[key] += np.bincount(asked.rows, minlength=zoo.ROWS)
            if model.labels is not None and len(self.labels) < 2000:
                rows = asked.rows if asked.ids else asked.rows[: len(got.prediction_ids)]
                self.labels += [
                    (one, model.labels[row], model.name) for one, row in zip(got.prediction_ids, rows, strict=True)
                ]
        if doubled:
            world.wrong(who, "every prediction id once", f"{doubled} that were given before")
        world.add("requests OK")
        world.add("rows", len(asked.rows))

    def failed(self, who: str, life: Life, asked: Asked, code: str, words: str = "") -> None:
        """An answer that is not OK, or none."""
        self._world.add(f"requests {code}")
        if asked.spoilt and code == "INVALID_ARGUMENT":
            with self._lock:
                life.tally.refused[asked.model.name] += 1
        elif asked.version and code in ("NOT_FOUND", "UNAVAILABLE"):
            pass  # that version is not loaded just now, or not yet
        elif not life.ending:
            self._world.wrong(who, f"an answer to '{asked.identity}' of {asked.model.name}", f"{code} {words}")

    def take_labels(self, most: int) -> Iterable[tuple[str, Any, str]]:
        """Labels to report, each once."""
        with self._lock:
            taken, self.labels = self.labels[:most], self.labels[most:]
        return taken


class Asker:
    """Draws requests: mostly of the quick models, one row to a few hundred.

    Args:
        name: begins the ids of its requests.
        chance: seeded.
    """

    def __init__(self, world: World, name: str, chance: np.random.Generator) -> None:
        self._world = world
        self._name = name
        self._chance = chance
        self._sent = 0

    def draw(self) -> Asked:
        chance, models = self._chance, self._world.zoo.models
        self._sent += 1
        self._world.add("requests sent")
        name = chance.choice(zoo.COMPARED, p=[0.5, 0.47, 0.03])
        size = 1 if chance.random() < 0.5 else int(np.exp(chance.uniform(0, np.log(64))))
        if chance.random() < 0.002:
            size = 500  # more than a batch
        spoilt, named = chance.random(2) < (0.01, 0.03)
        return Asked(
            models[name],
            chance.integers(0, zoo.ROWS, size),
            f"{self._name}-{self._sent}",
            version=str(chance.choice(zoo.VERSIONS)) if named and not spoilt else "",
            key=f"user {chance.integers(500)}" if chance.random() < 0.3 else None,
            ids=bool(chance.random() < 0.1),
            spoilt=bool(spoilt),
        )
