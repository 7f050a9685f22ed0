"""Real archives at the door of a real store."""

from __future__ import annotations

import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from kedge_testing import flights

from kedge.audit import keys, sidecars
from kedge.audit.doors import Doors
from kedge.audit.errors import AuditError
from kedge.audit.gate import BundleRefusedError
from kedge.audit.policy import Policy
from kedge.audit.statement import Attestation, Subject
from kedge.bundle.store import Store
from kedge.rollout.admission import admit

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return flights.bundle(tmp_path_factory.mktemp("built"))


def test_an_unsigned_bundle_stays_out_and_a_signed_one_keeps_its_attestations(built: Path, tmp_path: Path) -> None:
    archive = Path(shutil.copy(built, tmp_path))
    store = Store(tmp_path / "store")
    pem = keys.public_pem(KEY.public_key())
    policy = Policy.model_validate({"require": ["builder"], "keys": [{"public": pem, "roles": ["builder"]}]})
    doors = Doors(policy, store.root)
    with pytest.raises(BundleRefusedError, match="no valid signature"):
        admit(store, doors, archive)
    assert store.list() == ()
    assert list((store.root / "staging").iterdir()) == []

    bundle = Store(tmp_path / "other").add(archive)
    subject = Subject(bundle.id, bundle.name, bundle.version)
    envelope = Attestation(subject, "builder", datetime.now(UTC)).sign(KEY)
    sidecars.keep(tmp_path, f"{archive.name}.", "builder", envelope)
    kept = admit(store, doors, archive)
    assert doors.check(kept) is not None
    assert len(sidecars.stored(kept.directory)) == 1
    assert store.verify_stored(kept.id) == kept

    store.delete(kept.id)
    assert list((store.root / "sha256").iterdir()) == [], "its attestations went with it"


def test_a_bundle_whose_attestations_cannot_be_kept_is_given_back(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store")
    doors = Doors(None, store.root)
    lost: list[str] = []

    def full(*_: object) -> None:
        raise AuditError("no space left")

    with monkeypatch.context() as disk:
        disk.setattr(doors, "keep", full)
        with pytest.raises(AuditError, match="no space left"):
            admit(store, doors, built, lost=lost.append)
    (entry,) = store.list()
    assert lost == [entry.id]

    def shut(_: object) -> None:
        raise AuditError("nothing can be recorded")

    with pytest.raises(AuditError, match="nothing can be recorded"):
        admit(store, doors, built, coming=shut, lost=lost.append)
    assert lost == [entry.id], "it was not announced"
    admit(store, doors, built, lost=lost.append)
    assert lost == [entry.id]


def test_attestations_that_have_no_place_are_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(AuditError, match=r"cannot write .*: Not a directory"):
        sidecars.adopt({"builder-1.dsse.json": b"{}"}, tmp_path / "file" / "bundle")
