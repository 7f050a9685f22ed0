"""`kedge bundle verify | inspect | diff`: archives from anywhere, opened as if they were hostile."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kedge.bundle import diff as differences
from kedge.bundle import verify as opening
from kedge.bundle.contents import Bundle
from kedge.cli import bundle_sign, bundle_text
from kedge.cli.common import NO, JsonFlag, emit, examples, new_app, progress
from kedge.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterator

app = new_app()
app.info.epilog = examples(
    "kedge bundle build spec.yaml -o flights-late-1.0.0.kedge",
    "kedge bundle verify flights-late-1.0.0.kedge",
)

Archive = Annotated[Path, typer.Argument(metavar="FILE|DIR", help="A bundle archive, or the directory of one.")]


@app.command(epilog=examples("kedge bundle verify flights-late-1.0.0.kedge"))
def verify(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Bundle archives.")],
    policy: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Signing policy that the archives must meet too.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Check that archives are whole, well-formed and consistent, without running them."""
    for file in files:
        if not file.is_file():
            raise BundleError(f"'{file}' is not a file")
    results = [_verdict(file, policy, quiet=as_json) for file in files]
    emit({"bundles": results}, *(bundle_text.verdict(result) for result in results), as_json=as_json)
    if not all(result["ok"] for result in results):
        raise NO


@app.command(epilog=examples("kedge bundle inspect flights-late-1.0.0.kedge"))
def inspect(bundle: Archive, as_json: JsonFlag = False) -> None:
    """Show what a bundle is, takes, gives and was measured to do."""
    with read(bundle, quiet=as_json) as opened:
        emit(bundle_text.document(opened), *bundle_text.tables(opened), as_json=as_json)


@app.command(epilog=examples("kedge bundle diff flights-late-1.0.0.kedge flights-late-1.1.0.kedge"))
def diff(first: Archive, second: Archive, as_json: JsonFlag = False) -> None:
    """Show what differs between two bundles; exit 0 if nothing does, 1 if something does."""
    with read(first, quiet=as_json) as one, read(second, quiet=as_json) as two:
        same = one.id == two.id
        sections = () if same else differences.compare(one, two)
        payload = {"same": same, "first": one.id, "second": two.id, "sections": bundle_text.changes(sections)}
        emit(payload, *bundle_text.comparison(one, two, sections), as_json=as_json)
    if not same:
        raise NO


def _verdict(file: Path, policy: Path | None, *, quiet: bool) -> dict[str, Any]:
    try:
        with _open(file, quiet=quiet) as bundle:
            facts = {"file": str(file), "ok": True, "id": bundle.id, "name": bundle.name, "version": bundle.version}
            return facts if policy is None else facts | bundle_sign.judged(policy, file, bundle)
    except BundleError as error:
        return {"file": str(file), "ok": False, "reason": str(error)}


@contextlib.contextmanager
def read(path: Path, *, quiet: bool) -> Iterator[Bundle]:
    """A bundle opened and checked, with a progress bar, for the time of a `with` block. Raises `BundleError`."""
    with contextlib.ExitStack() as stack:
        with opening.naming(path):
            bundle = stack.enter_context(_open(path, quiet=quiet))
        yield bundle


@contextlib.contextmanager
def _open(path: Path, *, quiet: bool) -> Iterator[Bundle]:
    if path.is_dir():
        yield Bundle.read(path)
        return
    if not path.is_file():
        raise BundleError(f"'{path}' is not a file or directory")
    with (
        progress(f"verifying {path.name}", total=path.stat().st_size, quiet=quiet) as step,
        opening.opened(path, step.advance) as bundle,
    ):
        yield bundle
