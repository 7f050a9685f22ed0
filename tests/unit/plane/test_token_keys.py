"""Keys of prediction ids: private, rotated, and remembered as long as their ids are of use."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

import pytest

from kedge.plane.token import EXPIRED, FORGED, VALID, Sealed, seal, unseal
from kedge.plane.token_keys import ROTATE_SECONDS, VERIFY_SECONDS, TokenKeyError, load, rotate

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_800_000_000.0
PREDICTION = Sealed(bundle=b"12345678", epoch=1, boot=2, shard=0, sequence=3, seconds=int(NOW))


def test_the_first_key_is_made_private(tmp_path: Path) -> None:
    keys = load(tmp_path / "keys", lambda: NOW)
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "keys" / "tokens.json").stat().st_mode) == 0o600
    assert keys.keys == (keys.tokens.key,)
    assert len(keys.tokens.key.secret) == 16
    assert keys.tokens.key.secret.hex() not in repr(keys)


def test_a_restart_keeps_the_key_and_draws_a_new_boot(tmp_path: Path) -> None:
    first, second = load(tmp_path, lambda: NOW), load(tmp_path, lambda: NOW + 1)
    assert first.keys == second.keys
    assert first.tokens.boot != second.tokens.boot


def test_keys_before_the_last_open_ids_until_the_horizon(tmp_path: Path) -> None:
    old = load(tmp_path, lambda: NOW)
    text = seal(PREDICTION, old.tokens.key)
    new = rotate(tmp_path, lambda: NOW + 10, boot=old.tokens.boot)
    assert new.tokens.key != old.tokens.key
    assert new.tokens.boot == old.tokens.boot
    assert new.rotate_at == NOW + 10 + ROTATE_SECONDS
    foreign = seal(PREDICTION, load(tmp_path / "other", lambda: NOW).tokens.key)
    assert unseal([text, foreign], new.keys)["status"].tolist() == [VALID, FORGED]
    later = rotate(tmp_path, lambda: NOW + 11 + VERIFY_SECONDS)
    assert [key.id for key in later.keys] == [new.tokens.key.id, later.tokens.key.id]
    assert unseal([text], later.keys)["status"].tolist() == [EXPIRED]


def test_a_key_that_is_due_is_replaced_at_the_start(tmp_path: Path) -> None:
    old = load(tmp_path, lambda: NOW)
    assert load(tmp_path, lambda: NOW + ROTATE_SECONDS - 1).tokens.key == old.tokens.key
    new = load(tmp_path, lambda: NOW + ROTATE_SECONDS)
    assert new.tokens.key.id != old.tokens.key.id
    assert new.keys == (old.tokens.key, new.tokens.key)


def test_ids_of_keys_go_round_and_are_never_taken_twice(tmp_path: Path) -> None:
    rotate(tmp_path, lambda: NOW)
    path = tmp_path / "tokens.json"
    path.write_text(path.read_text().replace('"id": 1', '"id": 254'))
    assert [rotate(tmp_path, lambda: NOW).tokens.key.id for _ in range(3)] == [255, 0, 1]
    value = json.loads(path.read_text())
    value["keys"] = [{**value["keys"][0], "id": number, "retired": NOW} for number in range(255)]
    value["keys"].append({**value["keys"][0], "id": 255, "retired": None})
    path.write_text(json.dumps(value))
    with pytest.raises(TokenKeyError, match="256 keys"):
        rotate(tmp_path, lambda: NOW)
    assert rotate(tmp_path, lambda: NOW + VERIFY_SECONDS).tokens.key.id == 0


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    load(tmp_path, lambda: NOW)
    (tmp_path / "tokens.json").chmod(0o640)
    with pytest.raises(TokenKeyError, match="mode 0640"):
        load(tmp_path, lambda: NOW)


def test_a_link_is_refused(tmp_path: Path) -> None:
    load(tmp_path, lambda: NOW)
    (tmp_path / "tokens.json").rename(tmp_path / "elsewhere")
    (tmp_path / "tokens.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TokenKeyError, match="cannot read"):
        load(tmp_path, lambda: NOW)


@pytest.mark.parametrize(
    "damage",
    [
        lambda value: value["keys"].clear(),
        lambda value: value["keys"].append(value["keys"][0]),
        lambda value: value["keys"][0].update({"secret": "00"}),
        lambda value: value["keys"][0].update(id=256),
        lambda value: value["keys"][0].pop("created"),
        lambda value: value.update(keys=5),
        lambda value: value.update(version=2),
    ],
)
def test_damage_is_refused(tmp_path: Path, damage: object) -> None:
    load(tmp_path, lambda: NOW)
    path = tmp_path / "tokens.json"
    value = json.loads(path.read_text())
    damage(value)  # type: ignore[operator]
    path.write_text(json.dumps(value))
    with pytest.raises(TokenKeyError, match=r"damaged|another Kedge"):
        load(tmp_path, lambda: NOW)
