"""What every actor of a soak shares: the server of the moment, the gate that stops them, and what was found wrong."""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kedge_testing.soak.life import Life
    from kedge_testing.soak.zoo import Zoo

PATIENCE: Final = 60.0
"""Seconds after which something that must happen is taken not to."""
MOST_FINDINGS: Final = 20


class Gate:
    """Actors work inside it; while it is closed none begins and all that began have ended."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._open = True
        self._inside: Counter[str] = Counter()

    def try_enter(self, who: str) -> bool:
        """Begin a piece of work, unless the gate is closed."""
        with self._changed:
            if self._open:
                self._inside[who] += 1
            return self._open

    def leave(self, who: str) -> None:
        with self._changed:
            self._inside[who] -= 1
            self._changed.notify_all()

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Wait until everybody is out, and keep them out. Raises `TimeoutError` naming who does not leave."""
        with self._changed:
            self._open = False
            out = self._changed.wait_for(lambda: not any(self._inside.values()), PATIENCE)
            stuck = [who for who, count in self._inside.items() if count]
        try:
            if not out:
                raise TimeoutError(f"answers are still waited for by {', '.join(stuck)} after {PATIENCE:g} s")
            yield
        finally:
            with self._changed:
                self._open = True
                self._changed.notify_all()


class World:
    """Shared by all threads of a soak.

    Attributes:
        life: the server that takes requests, None between two.
        full: the disk of the state directory has no room just now.
        counts: what happened, by name, for the report.
        findings: what was wrong.
        say: takes a line of progress.
    """

    def __init__(self, zoo: Zoo, seed: int, say: Callable[[str], object]) -> None:
        self.zoo = zoo
        self.seed = seed
        self.say = say
        self.gate = Gate()
        self.stop = threading.Event()
        self.life: Life | None = None
        self.full = False
        self.counts: Counter[str] = Counter()
        self.findings: list[str] = []
        self._began = time.monotonic()
        self._lock = threading.Lock()

    @property
    def second(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began

    def add(self, what: str, count: int = 1) -> None:
        with self._lock:
            self.counts[what] += count

    def wrong(self, actor: str, expected: object, found: object) -> None:
        """Note that an invariant does not hold; after `MOST_FINDINGS` of them the soak ends."""
        words = f"seed {self.seed}, second {self.second:.1f}, {actor}: expected {expected}, found {found}"
        self.say(f"WRONG {words}")
        with self._lock:
            self.findings.append(words)
            if len(self.findings) >= MOST_FINDINGS:
                self.stop.set()

    def wait_life(self, after: int = 0) -> Life | None:
        """The server of the moment, once it is a later one than number `after`; None at the end."""
        while not self.stop.is_set():
            life = self.life
            if life is not None and not life.ending and life.number > after:
                return life
            time.sleep(0.02)
        return None


class Actor(threading.Thread):
    """A client that works as long as the soak lasts. Subclasses do one piece of work in `turn`.

    Args:
        world: shared.
        name: in findings.
        pause: mean seconds between two turns.
    """

    def __init__(self, world: World, name: str, pause: float) -> None:
        super().__init__(name=name, daemon=True)
        self.world = world
        self.pause = pause

    def connect(self, life: Life) -> Any:
        """A connection for `turn`; a context manager."""
        raise NotImplementedError

    def turn(self, life: Life, connection: Any) -> None:
        """One piece of work. Whatever it raises is a finding, unless the server is ending."""
        raise NotImplementedError

    def run(self) -> None:
        number = 0
        while (life := self.world.wait_life(number)) is not None:
            number = life.number
            try:
                with self.connect(life) as connection:
                    while not self.world.stop.is_set() and not life.ending:
                        self._one(life, connection)
            except Exception as error:  # noqa: BLE001 - of any kind: it is judged by when it happened
                if not life.ending:
                    self.world.wrong(self.name, "no error", f"{type(error).__name__}: {error}")
                    number -= 1  # the same server, a new connection

    def _one(self, life: Life, connection: Any) -> None:
        if self.world.gate.try_enter(self.name):
            try:
                self.turn(life, connection)
            finally:
                self.world.gate.leave(self.name)
            self.world.stop.wait(self.pause)
        else:
            time.sleep(0.01)
