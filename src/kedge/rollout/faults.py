"""Hard faults: what needs no statistics. Non-finite output on rows that nothing is wrong with rolls back at once."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from kedge.audit.record import Verdict
from kedge.errors import PlaneError
from kedge.rollout import rollback
from kedge.rollout.states import WITH_TRAFFIC, Event

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from kedge.bundle.contents import Bundle
    from kedge.rollout.book import Model
    from kedge.rollout.desk import Desk

    Row = Mapping[str, NDArray[Any]]

ROWS: Final = 3
"""Guilty rows it takes: any client may send a strange one."""

log = logging.getLogger(__name__)


class Faults:
    """Looks at the rows whose prediction was not finite. Used under the manager's lock.

    Args:
        desk: what it acts on.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._seen: dict[tuple[int, int], int] = {}
        self._trouble: dict[str, str] = {}

    def look(self) -> None:
        """Roll back every bundle that is guilty, where a stable one is warm. What goes wrong is logged once, and keeps
        no other model from being looked at.
        """
        for name, model in sorted(self._desk.books.models.items()):
            try:
                pair = self._pair(model)
                if pair is not None and (guilty := self._guilty(*pair)) >= ROWS:
                    self._condemn(name, pair[1], guilty)
            except Exception as error:
                if self._trouble.get(name) != repr(error):  # ten times a second would fill the log
                    log.exception("hard faults are not acted on", extra={"data": {"model": name}})
                self._trouble[name] = repr(error)
            else:
                self._trouble.pop(name, None)

    def _condemn(self, name: str, stable: str, guilty: int) -> None:
        rollback.automatic(
            self._desk,
            name,
            Event.FAULT,
            f"hard fault: {guilty} rows whose inputs are finite and valid came out non-finite, and "
            f"{self._desk.books.bundles[stable]} answers them with finite values",
            verdict=Verdict(test="finite output", decision="harm", n=guilty),
            details={"stable": stable, "rows": guilty, "fault": "non-finite output"},
        )

    def _pair(self, model: Model) -> tuple[str, str] | None:
        """Ids of the bundle on trial and of the stable one, both loaded."""
        rollout = model.under_way
        trial, stable = model.live, model.last_good
        if rollout is not None and self._desk.books.bundles[rollout.bundle].state in WITH_TRAFFIC:
            trial, stable = rollout.bundle, model.live
        handles = self._desk.residents.handles
        return (trial, stable) if trial in handles and stable in handles else None

    def _guilty(self, trial: str, stable: str) -> int:
        """Rows on which the stable bundle did better so far; each is taken from the plane and replayed once."""
        handle, other = self._desk.residents.handles[trial], self._desk.residents.handles[stable]
        rows = self._desk.plane.suspects(handle)
        guilty = self._seen.get((handle.key, other.key), 0)
        if rows:
            bundle, judge = self._desk.residents.bundle(trial), self._desk.residents.bundle(stable)
            guilty += sum(valid(bundle, row) and self._finite(judge, row) for row in rows)
            self._seen[handle.key, other.key] = guilty
        return guilty

    def _finite(self, judge: Bundle, row: Row) -> bool:
        """Whether the stable bundle's prediction on this row is finite; one that cannot take it is no judge of it."""
        try:
            outputs = self._desk.plane.run(self._desk.residents.handles[judge.id], row)
        except PlaneError:
            return False
        prediction = judge.serving.prediction
        names = list(outputs) if prediction is None else [prediction.output]
        return all(_finite(outputs[name]) for name in names if name in outputs)


def valid(bundle: Bundle, row: Row) -> bool:
    """Whether every feature of a row is finite, and in its valid range or what the schema has for a missing value.

    Args:
        bundle: whose schema.
        row: arrays of first extent 1, by tensor name.
    """
    for tensor in row.values():
        if not _finite(tensor):
            return False
    for feature in bundle.schema.features:
        if feature.kind != "numeric" or feature.source.tensor not in row:
            continue
        value = float(row[feature.source.tensor].reshape(-1)[feature.source.column])
        if feature.missing.kind == "sentinel" and value == feature.missing.value:
            continue
        low, high = feature.valid.min, feature.valid.max
        if (low is not None and value < low) or (high is not None and value > high):
            return False
    return True


def _finite(array: NDArray[Any]) -> bool:
    return array.dtype.kind not in "fc" or bool(np.isfinite(array).all())
