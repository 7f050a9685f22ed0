"""`kedge bundle sign`: put a signature beside an archive. And what `kedge bundle verify --policy` asks of them."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer
from rich.markup import escape

from kedge.audit import canonical, dsse, gate, keys, sidecars
from kedge.audit import policy as policies
from kedge.audit.errors import RecordError, SignatureError
from kedge.audit.roles import Role  # noqa: TC001 - typer reads the annotations when it runs
from kedge.audit.statement import PAYLOAD_TYPE, Attestation, Subject, provenance_payload
from kedge.bundle import verify as opening
from kedge.cli.common import JsonFlag, emit, examples, new_app, progress
from kedge.errors import BundleError

if TYPE_CHECKING:
    from kedge.audit.dsse import Envelope
    from kedge.bundle.contents import Bundle
    from kedge.bundle.provenance import Provenance

app = new_app()

MAX_CLAIMS_BYTES: Final = 256 * 1024

Archive = Annotated[Path, typer.Argument(metavar="FILE", help="A bundle archive.")]
Key = Annotated[Path, typer.Option("--key", metavar="KEY", help="Private key, as kedge keygen makes it.")]


@app.command("sign", epilog=examples("kedge bundle sign flights-late-1.0.0.kedge --key build.key"))
def sign(
    file: Archive,
    key: Key,
    role: Annotated[Role, typer.Option(help="The role you speak in.")] = "builder",
    as_json: JsonFlag = False,
) -> None:
    """Sign an archive: it is verified as a whole, and the signature is written beside it.

    The archive does not change. The file beside it, ARCHIVE.ROLE-KEY.dsse.json, travels with it.
    """
    write(file, key, role, {}, as_json=as_json)


def write(file: Path, key: Path, role: Role, claims: dict[str, Any], *, as_json: bool) -> None:
    """Verify an archive, sign a statement about it and write that beside it."""
    private = keys.load_private(key)
    subject, _ = _verified(file, quiet=as_json)
    envelope = Attestation(subject, role, datetime.now(UTC).replace(microsecond=0), claims).sign(private)
    _keep(file, subject, role, envelope, as_json=as_json)


def write_provenance(file: Path, key: Path, *, as_json: bool) -> None:
    """Verify an archive, sign a statement of its SLSA provenance and write that beside it."""
    private = keys.load_private(key)
    subject, provenance = _verified(file, quiet=as_json)
    with file.open("rb") as archive:
        digest = hashlib.file_digest(archive, "sha256").hexdigest()
    payload = provenance_payload(subject, digest, provenance.model_dump(mode="json"))
    _keep(file, subject, "provenance", dsse.sign(PAYLOAD_TYPE, payload, private), as_json=as_json)


def _verified(file: Path, *, quiet: bool) -> tuple[Subject, Provenance]:
    if not file.is_file():
        raise BundleError(f"'{file}' is not a file")
    with (
        opening.naming(file),
        progress(f"verifying {file.name}", total=file.stat().st_size, quiet=quiet) as step,
        opening.opened(file, step.advance) as bundle,
    ):
        return subject_of(bundle), bundle.provenance


def _keep(
    file: Path, subject: Subject, role: Role | Literal["provenance"], envelope: Envelope, *, as_json: bool
) -> None:
    path = sidecars.keep(file.parent, f"{file.name}.", role, envelope)
    payload = {"bundle": subject.bundle, "role": role, "key": envelope.signatures[0][0], "path": str(path)}
    text = f"[green]signed[/green] {escape(str(subject))} as {role} with key {payload['key'][:12]}: {escape(str(path))}"
    emit(payload, text, as_json=as_json)


def read_claims(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises `RecordError`."""
    with path.open("rb") as file:
        data = file.read(MAX_CLAIMS_BYTES + 1)
    if len(data) > MAX_CLAIMS_BYTES:
        raise RecordError(f"'{path}': larger than {MAX_CLAIMS_BYTES} bytes; refer to large results by their digest")
    return canonical.decode(data, f"'{path}'")


def subject_of(bundle: Bundle) -> Subject:
    """What statements about a bundle are about."""
    return Subject(bundle.id, bundle.name, bundle.version)


def judged(policy: Path, file: Path, bundle: Bundle) -> dict[str, Any]:
    """What a policy says of an archive and the attestations beside it, for the result of `kedge bundle verify`.

    Returns:
        ``ok``, ``signed`` (role, key and file of each attestation that counts) and, if it is refused, ``reason``.

    Raises:
        PolicyError: the policy cannot be used.
    """
    try:
        decision = gate.decide(policies.load(policy), subject_of(bundle), sidecars.beside(file), datetime.now(UTC))
    except SignatureError as error:
        return {"ok": False, "signed": [], "reason": str(error)}
    signed = [{"role": one.role, "key": one.key, "file": one.source} for one in decision.signed]
    result: dict[str, Any] = {"ok": decision.accepted, "signed": signed}
    return result if decision.accepted else result | {"reason": "; ".join(decision.reasons)}
