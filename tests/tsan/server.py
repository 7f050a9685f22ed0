"""A native plane for `run.sh`: it says its address, then changes all there is to change until its input ends.

Usage: server.py FOLDER. The extension is built with ThreadSanitizer, and what it finds goes to its log.
"""

from __future__ import annotations

import sys
import threading
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kedge_testing import bundles, models, serving

from kedge import _dataplane
from kedge.bundle.manifest import Execution, Serving
from kedge.kernel.select import select
from kedge.plane.contract import Arm, ArmRoute, LoadOptions, Route, Shadow, TokenKey, Tokens
from kedge.plane.native import NativePlane

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kedge.plane.contract import Handle

GRACE: Final = 30.0
SALT: Final = b"0123456789abcdef"
PAUSE: Final = 0.02


def routes(one: Handle, two: Handle) -> Iterator[Route]:
    """One arm, a canary, a shadow, and again, under epochs of their own."""
    for epoch, turn in enumerate(cycle(range(3)), start=1):
        if turn == 1:
            split = (ArmRoute(two, Arm.CANARY, 0.5), ArmRoute(one, Arm.CONTROL, 0.5))
            yield Route(one.model, epoch, split, salt=SALT)
        else:
            live, beside = (one, two) if epoch % 2 else (two, one)
            shadow = Shadow(beside) if turn == 2 else None
            yield Route(one.model, epoch, (ArmRoute(live, Arm.LIVE, 1.0),), salt=SALT, shadow=shadow)


def change(served: serving.Served, changing: Iterator[Route], others: list[Route], ended: threading.Event) -> None:
    """Publish, count, load and retire, replace sealing keys."""
    third = bundles.write(bundles.Recipe(models.plus(3), "plus", version="3"), served.root)
    keys = cycle(Tokens(TokenKey(number, bytes(range(number, number + 16))), number) for number in (1, 2, 3))
    for turn, route in enumerate(changing):
        served.publish(route, *others)
        served.plane.snapshot()
        if turn % 5 == 0:
            served.plane.configure(tokens=next(keys))
            served.plane.retire(served.plane.load(third, LoadOptions()), GRACE)
        if ended.wait(PAUSE):
            return


def main() -> None:
    if Path(_dataplane.__file__).parent.parent != Path(sys.argv[1]):
        sys.exit(f"{_dataplane.__file__} is not the extension that was built with ThreadSanitizer")
    served = serving.listen(
        lambda kernel: NativePlane(kernel, shards=2, isolate=False), select("native"), Path(sys.argv[1])
    )
    pool = Serving(execution=Execution(mode="pool"))
    one, two, add, slow = (
        served.load(recipe)
        for recipe in (
            bundles.Recipe(models.plus(1), "plus", version="1"),
            bundles.Recipe(models.plus(2), "plus", version="2"),
            bundles.Recipe(models.add(), "add"),
            bundles.Recipe(models.slow_rows(), "slow-rows", serving=pool),
        )
    )
    changing = routes(one, two)
    others = [serving.only(add), serving.only(slow)]
    served.publish(next(changing), *others)
    ended = threading.Event()
    changes = threading.Thread(target=change, args=(served, changing, others, ended))
    changes.start()
    sys.stdout.write(served.address + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    ended.set()
    changes.join()
    served.plane.drain(GRACE)
    served.plane.stop()


if __name__ == "__main__":
    main()
