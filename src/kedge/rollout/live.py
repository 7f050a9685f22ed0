"""Which bundle is live for each model: recorded in SQLite, published to the plane, and the same after a restart."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kedge.errors import Code, KedgeError
from kedge.plane.contract import Arm, ArmRoute, LoadOptions, Route, RouteTable
from kedge.rollout.state import DATABASE, StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kedge.bundle.contents import Bundle
    from kedge.bundle.store import Store
    from kedge.plane.contract import DataPlane, Handle

SCHEMA_VERSION: Final = 1
SCHEMA: Final = """
CREATE TABLE live (
    model TEXT PRIMARY KEY,
    bundle TEXT NOT NULL,    -- bundle id, 64 hex digits
    epoch INTEGER NOT NULL,  -- of the route in force; grows with every change
    since REAL NOT NULL      -- seconds since 1970
) STRICT
"""


class NotLiveError(KedgeError):
    """No bundle of this model is live."""

    code = Code.NOT_FOUND


@dataclass(frozen=True)
class Live:
    """A model's live bundle.

    Attributes:
        bundle: opened, from the store.
        handle: loaded on the plane.
        epoch: of its route.
        since: when it became live, seconds since 1970.
    """

    bundle: Bundle
    handle: Handle
    epoch: int
    since: float


class Deployments:
    """The live bundle of every model. Thread-safe.

    Args:
        directory: the state directory, locked by this process.
        store: where bundles stand.
        plane: who serves them.
        clock: seconds since 1970.

    Raises:
        StateError: the database is damaged or was written by a newer Kedge.
    """

    def __init__(self, directory: Path, store: Store, plane: DataPlane, clock: Callable[[], float]) -> None:
        self._store = store
        self._plane = plane
        self._clock = clock
        self._lock = threading.Lock()
        self._live: dict[str, Live] = {}
        self._database = _open(directory / DATABASE)

    def restore(self) -> None:
        """Load every bundle that was live when the server last ran, and publish them together.

        Raises:
            StateError: a live bundle is gone from the store.
            ModelLoadError: one does not load any more. Nothing is served then.
        """
        with self._lock:
            rows = self._database.execute("SELECT model, bundle, epoch, since FROM live ORDER BY model").fetchall()
            for model, identity, epoch, since in rows:
                try:
                    bundle = self._store.get(identity)
                except KedgeError as error:
                    raise StateError(f"bundle {identity[:12]} is live for '{model}' but unusable: {error}") from error
                handle = self._plane.load(bundle.directory, LoadOptions())
                self._live[model] = Live(bundle, handle, epoch, since)
            self._plane.publish(_table(self._live))

    def deploy(self, bundle: Bundle) -> Live:
        """Make a stored bundle the live one of a model that has none.

        The route is published inside the transaction that records it: both happen, or neither is seen again.

        Raises:
            ModelLoadError: the bundle does not load.
            StateError: its model has a live bundle already, or the record cannot be written.
        """
        with self._lock:
            if bundle.name in self._live:
                raise StateError(f"model '{bundle.name}' has a live bundle already")
            handle = self._plane.load(bundle.directory, LoadOptions())
            live = Live(bundle, handle, 1, self._clock())
            try:
                with _transaction(self._database):
                    self._database.execute(
                        "INSERT INTO live (model, bundle, epoch, since) VALUES (?, ?, ?, ?)",
                        (bundle.name, bundle.id, live.epoch, live.since),
                    )
                    self._plane.publish(_table({**self._live, bundle.name: live}))
            except sqlite3.Error as error:
                raise StateError(f"cannot record that {bundle.name} {bundle.version} is live: {error}") from error
            self._live[bundle.name] = live
            return live

    def table(self) -> RouteTable:
        """The route table in force."""
        with self._lock:
            return _table(self._live)

    def live(self) -> tuple[Live, ...]:
        """Every live bundle, by model name."""
        with self._lock:
            return tuple(self._live[model] for model in sorted(self._live))

    def get(self, model: str) -> Live:
        """The live bundle of a model. Raises `NotLiveError`."""
        with self._lock:
            if model in self._live:
                return self._live[model]
            known = ", ".join(sorted(self._live)) or "none"
        raise NotLiveError(f"no model '{model}' is live here; live: {known}")

    def close(self) -> None:
        """Close the database; what is published stays so."""
        with self._lock:
            self._database.close()


def _table(live: dict[str, Live]) -> RouteTable:
    return RouteTable(
        tuple(Route(model, item.epoch, (ArmRoute(item.handle, Arm.LIVE, 1.0),)) for model, item in sorted(live.items()))
    )


def _open(path: Path) -> sqlite3.Connection:
    try:
        database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version == 0:
            with _transaction(database):
                database.execute(SCHEMA)
                database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    except sqlite3.Error as error:
        raise StateError(f"cannot use '{path}': {error}") from error
    if version > SCHEMA_VERSION:
        database.close()
        raise StateError(f"'{path}' was written by a newer Kedge (schema {version}, this one knows {SCHEMA_VERSION})")
    return database


@contextlib.contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")
