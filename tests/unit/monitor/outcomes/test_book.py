"""Labels are counted once each, where they belong, and what is said was taken is on disk."""

from __future__ import annotations

import sqlite3
from collections import Counter

import numpy as np
import pytest
from kedge_testing.outcomes import BUNDLE, NOW, World, predictions, target

from kedge.monitor.outcomes.batch import ClassIndex, Seal
from kedge.monitor.outcomes.counts import Counts
from kedge.monitor.outcomes.file import OutcomesError
from kedge.monitor.outcomes.target import HORIZON
from kedge.monitor.outcomes.units import Split


def test_every_status(world: World) -> None:
    opened = predictions(
        9,
        seal=[Seal.GOOD.value] * 7 + [Seal.FORGED.value, Seal.KEY_GONE.value],
        bundle=[int(BUNDLE[:16], 16)] * 6 + [7] * 3,
        sequence=[0, 1, 1, 3, 4, 5, 6, 7, 8],
        seconds=[NOW - 1, NOW - 1, NOW - 1, NOW - 86401, NOW - HORIZON - 1, NOW - 1, NOW - 1, NOW - 1, NOW - 1],
    )
    labels = ["yes", "no", "yes", "yes", "yes", "maybe", "yes", "yes", "yes"]
    found = world.take(opened, labels)
    assert found == [
        "accepted", "accepted", "duplicate", "late", "expired", "invalid", "unknown_bundle", "forged", "expired",
    ]  # fmt: skip
    assert world.database.statuses() == {
        **{(BUNDLE, status): 1 for status in ("duplicate", "late", "invalid")},
        (BUNDLE, "accepted"): 2,
        **{("", status): count for status, count in (("unknown_bundle", 1), ("forged", 1), ("expired", 2))},
    }


def test_a_label_is_a_name_a_position_or_a_number(world: World) -> None:
    world.aim(classes=("1", "0", "yes"))
    labels = ["0", 0.0, ClassIndex(1), "yes", ClassIndex(3), None, float("nan"), 2.0]
    assert world.take(predictions(8, count=3), labels) == ["accepted"] * 4 + ["invalid"] * 4
    (counts,) = world.database.cells(BUNDLE).values()
    assert counts.confusion[:3, 1].tolist() == [0, 3, 1]


def test_an_invalid_label_may_be_mended(world: World) -> None:
    assert world.take(predictions(1), ["Yes"]) == ["invalid"]
    assert world.take(predictions(1), ["yes"]) == ["accepted"]


def test_what_was_taken_is_a_duplicate_after_a_restart(world: World) -> None:
    random = np.random.default_rng(5)
    sequence = random.integers(0, 2**48, 500)
    sequence[:300] = random.choice(200_000, 300, replace=False)
    shard = random.integers(0, 3, 500)
    opened = predictions(500, sequence=sequence, shard=shard)
    assert Counter(world.take(opened, ["yes"] * 500)) == {"accepted": 500}
    world.database.close()
    world.open()
    assert Counter(world.take(opened, ["no"] * 500)) == {"duplicate": 500}
    assert sum(counts.labelled for counts in world.database.cells(BUNDLE).values()) == 500


def test_any_order_and_any_batches_add_up_to_the_same(tmp_path_factory: pytest.TempPathFactory) -> None:
    random = np.random.default_rng(11)
    count = 400
    opened = predictions(
        count,
        seconds=NOW - random.integers(1, 200_000, count),
        arm=random.integers(0, 3, count),
        epoch=random.integers(1, 4, count),
        label=random.integers(0, 2, count),
    )
    labels = random.choice(["no", "yes"], count).tolist()
    found = []
    for parts in ([np.arange(count)], np.array_split(random.permutation(count), 7)):
        world = World(tmp_path_factory.mktemp("order") / "outcomes.db")
        for rows in parts:
            world.take(opened.part(rows), [labels[row] for row in rows])
        found.append(world.database.cells(BUNDLE))
        world.database.close()
    assert found[0] == found[1]
    assert len(found[0]) > 50


def test_what_cannot_be_written_is_not_taken(world: World) -> None:
    opened = predictions(10)
    world.database._connection.execute("PRAGMA query_only = ON")
    with pytest.raises(OutcomesError, match=r"outcomes\.db"):
        world.take(opened, ["yes"] * 10)
    world.database._connection.execute("PRAGMA query_only = OFF")
    assert world.database.cells(BUNDLE) == {}
    assert world.take(opened, ["yes"] * 10) == ["accepted"] * 10


def test_memory_is_bounded_and_forgets_nothing(world: World) -> None:
    world.book._ledger._capacity = 20_000
    opened = predictions(300, sequence=np.arange(300) * 65536)
    for start in range(0, 300, 50):
        world.take(opened.part(np.arange(start, start + 50)), ["yes"] * 50)
        assert world.book._ledger.size <= 20_000
    assert Counter(world.take(opened, ["yes"] * 300)) == {"duplicate": 300}


def test_past_the_horizon_bitmaps_go_and_ids_are_refused(world: World) -> None:
    world.take(predictions(5), ["yes"] * 5)
    world.now = NOW + HORIZON + 100
    world.book.tend([], {})
    with sqlite3.connect(world.path) as file:
        assert file.execute("SELECT count(*) FROM remembered").fetchone() == (0,)
    assert world.take(predictions(5), ["yes"] * 5) == ["expired"] * 5


def test_cohorts_closed_long_ago_are_added_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kedge.monitor.outcomes.cohorts.KEPT", 3)
    opened = predictions(20, seconds=NOW - 3600 * np.arange(20) - 60, sequence=np.arange(20))
    world.take(opened, ["yes", "no"] * 10)
    before = sum(world.database.cells(BUNDLE).values(), Counts.empty())
    world.now = NOW + 86400 + 3600
    world.book.tend([target()], {(BUNDLE, "live"): 100})
    cells = world.database.cells(BUNDLE)
    assert len(cells) == 4
    assert sum(cells.values(), Counts.empty()) == before
    assert min(cell.cohort for cell in cells) == 0
    assert list(world.database.predicted(BUNDLE).values()) == [100]


def test_epochs_of_cohorts_closed_long_ago_are_added_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kedge.monitor.outcomes.cohorts.KEPT", 0)
    for epoch in range(1, 6):
        world.take(predictions(2, epoch=epoch, sequence=[2 * epoch, 2 * epoch + 1]), ["yes", "no"])
    assert len(world.database.cells(BUNDLE)) == 5
    before = sum(world.database.cells(BUNDLE).values(), Counts.empty())
    world.now = NOW + 2 * 86400
    world.book.tend([target()], {})
    assert list(world.database.cells(BUNDLE).values()) == [before]


class TestUnits:
    def split(self, world: World, epoch: int = 1, rollout: bytes = b"rollout1") -> None:
        world.splits.saw(BUNDLE, epoch, Split(rollout, 3600, {"canary": 0.1, "control": 0.9}))

    def units(self, world: World) -> tuple[int, ...]:
        return tuple(np.sum(list(world.database.units(BUNDLE).values()), axis=0).tolist())

    def test_without_a_split_there_are_none(self, world: World) -> None:
        world.take(predictions(5), ["yes"] * 5)
        assert world.database.units(BUNDLE) == {}

    def test_without_a_key_every_label_is_one(self, world: World) -> None:
        self.split(world)
        world.take(predictions(5), ["yes", "no", "no", "yes", "yes"])
        assert self.units(world) == (5, 2, 2)

    def test_a_key_counts_once_a_period_and_once_wrong(self, world: World) -> None:
        self.split(world)
        self.split(world, epoch=2)
        opened = predictions(6, key_bits=[9, 9, 9, 9, 9, 2**19], epoch=[1, 1, 1, 2, 2, 1])
        world.take(opened.part(np.array([0])), ["yes"])
        assert self.units(world) == (1, 0, 0)
        world.take(opened.part(np.arange(1, 6)), ["no", "no", "yes", "no", "no"])
        assert self.units(world) == (2, 2, 1)
        world.database.close()
        world.open()
        world.take(predictions(2, key_bits=9, sequence=[50, 51], seconds=[NOW - 1, NOW - 3700]), ["no", "yes"])
        assert self.units(world) == (3, 2, 1)

    def test_rollouts_are_apart_and_arms_share_a_key(self, world: World) -> None:
        self.split(world)
        self.split(world, epoch=2, rollout=b"rollout2")
        world.take(predictions(3, key_bits=9, epoch=[1, 2, 1], arm=[2, 2, 1]), ["no"] * 3)
        assert self.units(world) == (2, 2, 2)
