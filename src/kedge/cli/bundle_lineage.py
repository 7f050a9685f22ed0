"""`kedge bundle lineage`: what a bundle came from, how it was measured, who vouches for it, where it was deployed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.markup import escape
from rich.tree import Tree

from kedge.audit import canonical, dsse, files, gate, sidecars
from kedge.audit import policy as policies
from kedge.audit.dsse import Envelope
from kedge.audit.errors import SignatureError
from kedge.audit.reader import Reader
from kedge.audit.record import Record
from kedge.audit.statement import PAYLOAD_TYPE, Attestation, is_provenance
from kedge.bundle.archive import MANIFEST, parse_manifest
from kedge.bundle.contents import Bundle
from kedge.cli.bundle import read
from kedge.cli.bundle_sign import subject_of
from kedge.cli.common import JsonFlag, emit, examples, new_app
from kedge.errors import BundleError, Code

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

app = new_app()

MOST_PARENTS: Final = 64
MOST_RECORDS: Final = 1000
"""Of the newest records about a bundle."""
STORE: Final = "store"


class UnknownBundleError(BundleError):
    """Neither a file nor a bundle of the store."""

    code = Code.NOT_FOUND


@app.command(
    "lineage",
    epilog=examples("kedge bundle lineage flights-late-1.1.0.kedge", "kedge bundle lineage 3f9a2c11 --state state"),
)
def lineage(
    bundle: Annotated[
        str, typer.Argument(metavar="FILE|DIR|ID|NAME-VERSION", help="An archive, or a bundle of --state.")
    ],
    state: Annotated[
        Path | None, typer.Option(metavar="DIR", help="State directory of a server: its store and its audit log.")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Signing policy that attestations are checked with.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show parents, data, evaluation, gates, attestations and deployments of a bundle as a tree.

    What a bundle says of itself is shown as it says it. Attestations are verified where --policy gives the keys, and
    deployments are what the audit log of --state records: kedge audit verify says whether that log holds.
    """
    path = Path(bundle)
    rules = None if policy is None else policies.load(policy)
    if path.exists():
        with read(path, quiet=as_json) as opened:
            found = _facts(opened, sidecars.beside(path) if path.is_file() else sidecars.stored(path), state, rules)
    else:
        stored = _stored(state, bundle)
        found = _facts(stored, sidecars.stored(stored.directory), state, rules)
    emit(found, _tree(found), as_json=as_json)


def _stored(state: Path | None, reference: str) -> Bundle:
    """A bundle of a store, which is read and never written. Raises `BundleError`."""
    if state is None:
        raise UnknownBundleError(f"'{reference}' is not a file; a bundle id needs --state")
    folder = state / STORE / "sha256"
    held = [path for path in folder.glob("*") if len(path.name) == 64]
    found = [path for path in held if path.name.startswith(reference)] if len(reference) >= 8 else []
    found = found or [path for path in held if _named(path) == reference]
    if len(found) != 1:
        what = "no bundle" if not found else "more than one bundle"
        raise UnknownBundleError(
            f"{what} '{reference[:160]}' in '{folder}'; give at least 8 digits of its id, or NAME-VERSION"
        )
    return Bundle.read(found[0])


def _named(directory: Path) -> str:
    """``NAME-VERSION`` of a stored bundle; empty for one that is damaged."""
    try:
        manifest = parse_manifest((directory / MANIFEST).read_bytes())
    except (OSError, BundleError):
        return ""
    return f"{manifest.name}-{manifest.version}"


def _facts(
    bundle: Bundle, found: tuple[tuple[str, bytes], ...], state: Path | None, policy: policies.Policy | None
) -> dict[str, Any]:
    manifest, source = bundle.manifest, bundle.provenance
    return {
        "id": bundle.id,
        "name": bundle.name,
        "version": bundle.version,
        "parents": list(_parents(manifest.parent, state)),
        "code_commit": source.code_commit,
        "training_run": source.training_run,
        "built_with": source.packages,
        "dependencies": [one.model_dump(mode="json") for one in source.dependencies],
        "data": [one.model_dump(mode="json", exclude_none=True) for one in bundle.snapshots.snapshots],
        "metrics": [one.model_dump(mode="json") for one in bundle.metrics.metrics if one.slice is None],
        "gates": [one.model_dump(mode="json") for one in bundle.gates.gates],
        "attestations": list(_attestations(bundle, found, policy)),
        "records": None if state is None else _records(state, bundle.id),
    }


def _parents(parent: str | None, state: Path | None) -> Iterator[dict[str, Any]]:
    """The chain of parents as far as the store has them; the last one may be an id and nothing else."""
    seen: set[str] = set()
    while parent is not None and parent not in seen and len(seen) < MOST_PARENTS:
        seen.add(parent)
        directory = None if state is None else state / STORE / "sha256" / parent
        if directory is None or not directory.is_dir():
            yield {"id": parent, "name": None, "version": None}
            return
        bundle = Bundle.read(directory)
        yield {"id": parent, "name": bundle.name, "version": bundle.version}
        parent = bundle.manifest.parent


def _attestations(
    bundle: Bundle, found: tuple[tuple[str, bytes], ...], policy: policies.Policy | None
) -> Iterator[dict[str, Any]]:
    counted: set[str] = set()
    now = datetime.now(UTC)
    if policy is not None:
        counted = {one.source for one in gate.decide(policy, subject_of(bundle), found, now).signed}
    for source, data in found:
        try:
            envelope = Envelope.parse(data)
            fact: dict[str, Any] = {"file": source, "key": envelope.signatures[0][0], "role": "provenance"}
            if not is_provenance(envelope.payload):
                said = Attestation.parse(envelope.payload)
                fact |= {"role": said.role, "signed_at": f"{said.signed_at:%Y-%m-%dT%H:%M:%SZ}", "claims": said.claims}
                if said.subject.bundle != bundle.id:
                    fact["fault"] = "it is about another bundle"
            elif policy is not None and _vouched(policy, bundle.id, envelope, now):
                counted.add(source)
        except SignatureError as error:
            fact = {"file": source, "fault": str(error)}
        yield fact | {"verified": source in counted if policy is not None else None}


def _vouched(policy: policies.Policy, identity: str, envelope: Envelope, now: datetime) -> bool:
    """Whether a key of the policy that is in force signed this statement of provenance, about this bundle."""
    trusted = {str(index): pinned.key for index, pinned in enumerate(policy.keys) if not pinned.lapse(now)}
    try:
        dsse.verify(envelope, trusted, (PAYLOAD_TYPE,))
    except SignatureError:
        return False
    match canonical.decode(envelope.payload, "statement"):
        case {"subject": [{"digest": {"sha256": digest}}, *_]}:
            return bool(digest == identity)
    return False


def _records(state: Path, identity: str) -> list[dict[str, Any]]:
    wanted = identity.encode()
    found = []
    with Reader(state / files.DATABASE) as log:
        for seq, data in log.records():
            if wanted in data:  # spares most of the parsing
                record = Record.parse(bytes(data), f"record {seq}")
                if record.bundle == identity:
                    found.append(record)
    return [
        {
            "sequence": one.sequence,
            "time": one.time.at,
            "action": one.action,
            "actor": one.actor.name,
            "from": one.previous_state,
            "to": one.next_state,
            "rationale": one.rationale,
        }
        for one in found[-MOST_RECORDS:]
    ]


def _tree(found: Mapping[str, Any]) -> Tree:
    tree = Tree(f"[bold]{escape(found['name'])} {escape(found['version'])}[/bold] {found['id']}")
    node = tree.add("parents") if found["parents"] else tree.add("parents: none")
    for one in found["parents"]:
        known = "not in the store" if one["name"] is None else f"{one['name']} {one['version']}"
        node = node.add(f"{one['id'][:16]} {escape(known)}")
    node = tree.add("made from")
    for name, value in (("code commit", found["code_commit"]), ("training run", found["training_run"])):
        node.add(f"{name}: {escape(_printable(value)) or 'not said'}")
    for one in found["dependencies"]:
        digest = next(iter(one.get("digest", {}).values()), "no digest")
        node.add(f"{escape(one['name'])}: {escape(one.get('uri', ''))} {digest[:16]}".replace(":  ", ": "))
    node.add("measured with " + escape(", ".join(f"{name} {at}" for name, at in sorted(found["built_with"].items()))))
    _section(tree, "data", [
        f"{one['role']}: {escape(one['uri'])}, {one['rows']:,} rows{_span(one)}, {one['sha256'][:16]}"
        for one in found["data"]
    ])  # fmt: skip
    _section(tree, "evaluation", [
        f"{escape(one['name'])} {one['value']:.6g}{_interval(one)}, {one['n']:,} rows" for one in found["metrics"]
    ])  # fmt: skip
    _section(tree, "gates", [
        f"{escape(one['metric'])} {one['op']} {one['bound']:g}: {one['value']:.6g} "
        + ("[green]passed[/green]" if one["passed"] else "[red]FAILED[/red]")
        for one in found["gates"]
    ])  # fmt: skip
    _section(tree, "attestations", list(map(_attestation, found["attestations"])))
    if found["records"] is None:
        tree.add("deployments: --state names a server whose log says")
    else:
        _section(tree, "records", [
            f"{one['time']} {one['action']} by {escape(one['actor'])}"
            + (f": {escape(one['from'] or '')} -> {escape(one['to'])}" if one["to"] else "")
            + f" (record {one['sequence']})"
            for one in found["records"]
        ])  # fmt: skip
    return tree


def _section(tree: Tree, title: str, lines: list[str]) -> None:
    node = tree.add(title if lines else f"{title}: none")
    for line in lines:
        node.add(line)


def _attestation(one: Mapping[str, Any]) -> str:
    if "fault" in one:
        return f"[red]{escape(one['file'])}[/red]: {escape(one['fault'])}"
    word = {True: "[green]verified[/green]", False: "[red]does not count[/red]", None: "not verified: no --policy"}
    dated = f", dated {one['signed_at']}" if "signed_at" in one else ""
    key = escape(_printable(one["key"][:16]))
    return f"{one['role']}, key {key}{dated}: {word[one['verified']]}"


def _span(one: Mapping[str, Any]) -> str:
    return f", {escape(one['time_min'])} to {escape(one.get('time_max', ''))}" if one.get("time_min") else ""


def _interval(one: Mapping[str, Any]) -> str:
    return "" if one["low"] is None or one["high"] is None else f" ({one['low']:.6g} to {one['high']:.6g})"


def _printable(text: str) -> str:
    """Text that a terminal does not obey."""
    return text if text.isprintable() else ascii(text)
