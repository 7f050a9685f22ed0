"""The `kedge` command: one table of commands, each loaded when it is asked for and not before."""

from __future__ import annotations

import importlib
import io
import sys
from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

import kedge
from kedge.cli.common import new_app, run


@dataclass(frozen=True)
class Entry:
    """A command: the modules whose `app` make it (several make a group of commands) and its line in `kedge --help`."""

    modules: tuple[str, ...]
    summary: str


COMMANDS: Final[dict[str, Entry]] = {
    "demo": Entry(("demo",), "See the main job on real data, start to finish."),
    "bundle": Entry(
        ("bundle", "bundle_build", "bundle_sign", "bundle_attest", "bundle_card", "bundle_lineage"),
        "Build, verify, sign, inspect and compare bundles.",
    ),
    "serve": Entry(("serve",), "Serve bundles over gRPC and watch them."),
    "deploy": Entry(("deploy",), "Bring a bundle into service by a rollout."),
    "promote": Entry(("promote",), "Go to the next step of a rollout now."),
    "pause": Entry(("pause",), "Hold a rollout where it is."),
    "resume": Entry(("resume",), "Go on with a paused rollout."),
    "abort": Entry(("abort",), "End a rollout and set its candidate aside."),
    "rollback": Entry(("rollback",), "Serve a known-good bundle again, at once."),
    "predict": Entry(("predict",), "Send the rows of a file to a server."),
    "load": Entry(("load_run",), "Send requests at a rate and measure what comes of them."),
    "outcomes": Entry(("outcomes",), "Report labels of predictions, and show what they say."),
    "status": Entry(("status",), "Show what a server is serving and how rollouts stand."),
    "events": Entry(("events",), "Show what happened to models."),
    "bundles": Entry(("bundles",), "List, upload and delete the bundles of a server."),
    "quarantine": Entry(("quarantine",), "List and clear bundles that were rolled back."),
    "drift": Entry(("drift",), "Compare what was served with a model's reference."),
    "audit": Entry(("audit", "audit_replay", "audit_rotate"), "Read, verify, replay and export the audit log."),
    "token": Entry(("token",), "Make and revoke tokens for the admin port."),
    "keygen": Entry(("keygen",), "Make a key pair to sign bundles with."),
    "doctor": Entry(("doctor",), "Check this installation and say what it would use."),
}


class LazyGroup(TyperGroup):
    """Lists commands from `COMMANDS` without importing them: `kedge --help` must not load onnxruntime."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        for name, entry in COMMANDS.items():
            self.add_command(TyperCommand(name, help=entry.summary))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, _, rest = super().resolve_command(ctx, args)
        return name, load(name) if name else None, rest


def load(name: str) -> Any:
    """The real command behind an entry of `COMMANDS`."""
    first, *others = (
        typer.main.get_command(importlib.import_module(f"kedge.cli.{module}").app) for module in COMMANDS[name].modules
    )
    if hasattr(first, "commands"):
        first.help = COMMANDS[name].summary
    for other in others:
        first.add_command(other)  # type: ignore[attr-defined]
    for command in (first, *getattr(first, "commands", {}).values()):
        command.help = _flowing(command.help)
    return first


def _flowing(text: str | None) -> str | None:
    """A docstring whose paragraphs are one line each: the terminal's width says where --help breaks them."""
    return text and "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


app = new_app("Serve ONNX models, watch what they see, and haul them back when they go wrong.")


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"kedge {kedge.__version__}\n")
        raise typer.Exit


@app.callback(cls=LazyGroup)
def _root(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit the process with its status."""
    given = sys.argv[1:] if arguments is None else arguments
    options = given[: given.index("--")] if "--" in given else given
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need be no text
    command = typer.main.get_command(app)
    sys.exit(
        run(
            lambda: command.main(given or ["--help"], prog_name="kedge", standalone_mode=False),
            as_json="--json" in options,
        )
    )
