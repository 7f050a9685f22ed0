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
