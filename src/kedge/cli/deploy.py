"""`kedge deploy`: a bundle into service, by a rollout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kedge.bundle import archive as archives
from kedge.cli.common import NO, JsonFlag, emit, examples, new_app, progress
from kedge.cli.connecting import Key, Reason, Server, connecting
from kedge.cli.following import follow
from kedge.cli.rollout_text import model_lines, model_payload
from kedge.errors import BundleError
from kedge.rollout import plan as plans

if TYPE_CHECKING:
    from kedge.client import AdminClient

SUFFIX = ".kedge"

app = new_app()


@app.command(
    epilog=examples(
        "kedge deploy flights-late-2.0.0.kedge",
        "kedge deploy flights-late-2.0.0.kedge --strategy canary --plan plan.yaml --wait",
        "kedge deploy flights-late-1.0.0 --strategy swap --reason 'back to the first'",
    )
)
@connecting
def deploy(
    *,
    bundle: Annotated[
        str, typer.Argument(metavar="FILE|ID", help="An archive, or a stored bundle: its id or NAME-VERSION.")
    ],
    strategy: Annotated[
        str,
        typer.Option(
            help="swap, shadow or canary. Default: as the plan or the bundle says, else canary; swap at first."
        ),
    ] = "",
    plan: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Plan of the rollout, YAML. Default: the bundle's own.")
    ] = None,
    reason: Reason = "",
    key: Key = "",
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the rollout ends or pauses.")] = False,
    server: Server,
    as_json: JsonFlag = False,
) -> None:
    """Bring a bundle into service by a rollout.

    An archive is uploaded first; an upload that broke off goes on where it was. With --wait the exit status is 0 once
    the bundle is live, 1 if it was rolled back, aborted or paused.
    """
    steps = None if plan is None else plans.read(plan).model_dump(mode="json", exclude_unset=True)
    with server.client() as client:
        reference = upload(client, Path(bundle), reason, quiet=as_json) if _is_file(bundle) else bundle
        with progress("loading and checking the bundle", quiet=as_json):
            item = client.deploy(reference, strategy=strategy, plan=steps, reason=reason, key=key)
        if wait and item.HasField("rollout"):
            item = follow(client, item, quiet=as_json)
    emit(model_payload(item), *model_lines(item), as_json=as_json)
    if wait and item.rollout.state != "LIVE":
        raise NO


def upload(client: AdminClient, archive: Path, reason: str, *, quiet: bool) -> str:
    """Send an archive to the store. Returns the bundle's id."""
    try:
        with archives.opened(archive) as reader:
            reader.manifest()
    except BundleError as error:  # before anything is sent, and by the name that the user gave
        raise BundleError(f"{archive}: {error}") from error
    with progress(f"uploading {archive.name}", total=archive.stat().st_size, quiet=quiet) as bar:
        return client.upload(archive, reason=reason, advance=bar.advance).id


def _is_file(given: str) -> bool:
    path = Path(given)
    if path.is_file():
        return True
    if path.suffix == SUFFIX or "/" in given:
        raise BundleError(f"'{given}' is no file; give an archive, or the id or NAME-VERSION of a stored bundle")
    return False
