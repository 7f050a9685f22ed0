"""Two equal bundles on the live native plane, with the guard on slow runs: hundreds of looks, and no rollback."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from kedge_testing.house import House, native
from kedge_testing.serving import eventually
from kedge_testing.traffic import Traffic, plus

from kedge.bundle.store import Store
from kedge.plane.contract import TokenKey, Tokens

if TYPE_CHECKING:
    from pathlib import Path

LOOKS = 400
PLAN: dict[str, Any] = {"steps": [{"share": 0.5, "min_seconds": 10**6}]}


@pytest.mark.long
def test_a_canary_equal_to_its_control_is_never_found_slow(tmp_path: Path) -> None:
    store = Store(tmp_path / "built")
    bundles = {version: store.add(plus(tmp_path, version)) for version in ("1", "2")}
    (tmp_path / "state").mkdir(mode=0o700)
    house = House(tmp_path / "state", {key: one.directory for key, one in bundles.items()}, make_plane=native)
    rollouts = house.open()
    try:
        house.plane.configure(tokens=Tokens(TokenKey(1, bytes(16)), 1))
        house.deploy("1", strategy="swap")
        identities = {version: bundle.id for version, bundle in bundles.items()}
        with Traffic(house.plane.start("127.0.0.1:0"), identities, clients=24, pause=0.0, seed=3) as traffic:
            eventually(lambda: traffic.versions()["1"] > 20_000, 60.0, every=0.1)
            house.deploy("2", strategy="canary", plan=PLAN)
            for _ in range(LOOKS):
                time.sleep(0.05)
                house.now += 1.0
                rollouts.tick()
                (state,) = rollouts.status("plus")
                assert state.rollout is not None
                assert state.rollout.state == "CANARY", state.rollout.decision
        (reading,) = [one for one in state.rollout.readings if one.guard == "slow"]
        # How many runs come in sizes with a line is the machine's to say; harm is looked for among those, however few.
        assert int(reading.numbers["judged"]) >= 1_000, "the guard was watching"
        assert reading.n > 0, "some runs of either arm were slow"
    finally:
        house.close()
