"""The evidence pack: everything a stranger needs to verify a log without Kedge, in one zip archive.

::

    README.txt  verify.py  pack.json       what it is, the program that verifies it, SHA-256 of every file
    records.jsonl                          the raw bytes of each record, one a line: the leaves of the tree
    checkpoints.jsonl  second.jsonl        signed notes of the database, and of the second file
    proofs.jsonl                           consistency from each checkpoint to the next, inclusion of single records
    keys.json                              the log's keys, and which trees each signed
    manifests/ID.json  attestations/ID/    of the bundles that the records name, as far as the store has them
    policy.json                            pinned keys and roles, where a policy was given
    counts/SHA256                          snapshots of counts that the records name, as far as they are kept
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import os
import secrets
import zipfile
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from kedge.audit import canonical, sidecars
from kedge.audit.counts import CountsGoneError, digests_in
from kedge.audit.errors import AuditError
from kedge.audit.merkle import Tree, leaf_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from kedge.audit.counts import CountStore
    from kedge.audit.findings import Report
    from kedge.audit.policy import Policy
    from kedge.audit.reader import Reader

FORMAT: Final = "kedge.evidence/1"
MAX_INCLUSION_PROOFS: Final = 100_000
"""Of the newest records: the pack holds every record anyway, proofs are for showing single ones."""
MAX_MANIFEST_BYTES: Final = 4 * 1024 * 1024
EPOCH: Final = (1980, 1, 1, 0, 0, 0)
README: Final = """Evidence of Kedge, log {origin}, {size} records.

verify.py recomputes everything in this archive and says what it proves and what it does not. Read it first; it is one
file and needs nothing but Python and the package `cryptography`:

    unzip -p PACK.zip verify.py > verify.py
    python3 -I verify.py PACK.zip --key VKEY

VKEY is the log's verifier key, had from somewhere else than this archive. keys.json has the one to compare it with.
"""


class _Pack:
    """A zip archive in which equal content gives equal bytes."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self.files: dict[str, str] = {}

    def add(self, name: str, chunks: Iterable[bytes]) -> None:
        info = zipfile.ZipInfo(name, EPOCH)
        info.compress_type = zipfile.ZIP_DEFLATED
        info.external_attr = 0o644 << 16
        digest = hashlib.sha256()
        with self._archive.open(info, "w", force_zip64=True) as file:
            for chunk in chunks:
                digest.update(chunk)
                file.write(chunk)
        self.files[name] = digest.hexdigest()


def export(
    log: Reader,
    report: Report,
    out: Path,
    *,
    store: Path,
    second: Iterable[bytes] | None = None,
    policy: Policy | None = None,
    counts: CountStore | None = None,
    advance: Callable[[int], None] | None = None,
) -> tuple[str, ...]:
    """Write the pack of a log.

    Args:
        log: the database, opened for reading.
        report: of the same reader, without findings: a log that does not hold is no evidence.
        out: the archive; it appears as a whole or not at all.
        store: of the bundles, ``store`` in the state directory.
        second: lines of the second file, the ones that were verified.
        policy: whose keys the attestations were signed with.
        counts: snapshots that the records name; None leaves them out.
        advance: told the records that were written, as they are.

    Returns:
        Ids of bundles that the records name and the store does not have.

    Raises:
        AuditError: the report has findings, or the archive cannot be written.
    """
    if not report.ok:
        raise AuditError(f"the log does not verify ({report.findings[0].message}); run: kedge audit verify")
    if out.is_dir():  # '.' and '/' have no name to put beside either
        raise AuditError(f"cannot write '{out}': is a directory; name the archive to write")
    # A name that nobody can guess, made anew: in a directory that others may write, a link could wait under another.
    partial = out.with_name(f".{out.name}.{secrets.token_hex(8)}.partial")
    try:
        with partial.open("xb") as file, zipfile.ZipFile(file, "w") as archive:
            pack = _Pack(archive)
            pack.add("README.txt", [README.format(origin=report.origin, size=report.size).encode()])
            pack.add("verify.py", [resources.files("kedge.audit").joinpath("standalone.py").read_bytes()])
            named = _log(pack, log, report, advance)
            if second is not None:
                pack.add("second.jsonl", (line + b"\n" for line in second))
            if policy is not None:
                pack.add("policy.json", [canonical.encode(policy.model_dump(mode="json", by_alias=True))])
            missing = _bundles(pack, store, named.bundles)
            gone = _counts(pack, counts, named.counts)
            index = {"format": FORMAT, "origin": report.origin, "size": report.size, "root": report.root.hex()}
            index["counts_left_out"] = gone
            pack.add("pack.json", [canonical.encode({**index, "files": dict(pack.files)})])
        descriptor = os.open(partial, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        partial.replace(out)
    except OSError as error:
        raise AuditError(f"cannot write '{out}': {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
    return missing


@dataclass
class _Named:
    """What records name by its digest: bundles, and snapshots of counts."""

    bundles: set[str] = field(default_factory=set)
    counts: set[str] = field(default_factory=set)


def _log(pack: _Pack, log: Reader, report: Report, advance: Callable[[int], None] | None) -> _Named:
    """Records, checkpoints, proofs and keys; returns what the records name."""
    tree = Tree()
    named = _Named()

    def records() -> Iterator[bytes]:
        for _, data in log.records():
            value = canonical.decode_record(data, "record")
            if "bundle" in value:
                named.bundles.add(value["bundle"])
            named.counts.update(digests_in(value.get("details")))
            tree.append(leaf_hash(data))
            if advance is not None:
                advance(1)
            yield data + b"\n"

    pack.add("records.jsonl", records())
    pack.add("checkpoints.jsonl", (_line({"note": note.decode()}) for _, _, note, _ in log.checkpoints()))
    pack.add("proofs.jsonl", _proofs(tree, [size for _, size, _, _ in log.checkpoints()]))
    history = [{"key": key.verifier.vkey, "first": key.first, "last": key.last} for key in report.keys]
    pack.add("keys.json", [canonical.encode(history)])
    return named


def _counts(pack: _Pack, counts: CountStore | None, named: set[str]) -> int:
    """Snapshots of counts; returns how many of those that the records name are not in the pack."""
    gone = 0
    for digest in sorted(named):
        try:
            data = None if counts is None else counts.get(digest)
        except CountsGoneError:
            data = None
        if data is None:
            gone += 1
        else:
            pack.add(f"counts/{digest}", [data])
    return gone


def _bundles(pack: _Pack, store: Path, bundles: set[str]) -> tuple[str, ...]:
    """Manifests and attestations; returns the ids of those whose manifest is not in the store."""
    missing = []
    for identity in sorted(bundles):
        directory = store / "sha256" / identity
        data = _manifest(directory)
        if data is None:
            missing.append(identity)
        else:
            pack.add(f"manifests/{identity}.json", [data])
        for name, envelope in sidecars.stored(directory):
            pack.add(f"attestations/{identity}/{name}", [envelope])
    return tuple(missing)


def _proofs(tree: Tree, sizes: list[int]) -> Iterator[bytes]:
    distinct = sorted(set(sizes))
    for first, second in itertools.pairwise(distinct):
        proof = _texts(tree.consistency_proof(first, second))
        yield _line({"kind": "consistency", "first": first, "second": second, "proof": proof})
    size = len(tree)
    for index in range(max(0, size - MAX_INCLUSION_PROOFS), size):
        proof = _texts(tree.inclusion_proof(index, size))
        yield _line({"kind": "inclusion", "index": index, "size": size, "proof": proof})


def _manifest(directory: Path) -> bytes | None:
    """bundle.json of a stored bundle, or None where it is gone or not what its id says."""
    try:
        with (directory / "bundle.json").open("rb") as file:
            data = file.read(MAX_MANIFEST_BYTES + 1)
    except OSError:
        return None
    return data if hashlib.sha256(data).hexdigest() == directory.name else None


def _texts(proof: list[bytes]) -> list[str]:
    return [base64.b64encode(value).decode() for value in proof]


def _line(value: dict[str, Any]) -> bytes:
    return canonical.encode(value) + b"\n"
