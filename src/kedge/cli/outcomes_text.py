"""What labels say, for people and as JSON."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.json_format import MessageToDict
from rich.markup import escape

from kedge.cli.common import table
from kedge.cli.moments import lasting, shown
from kedge.cli.verdicts import STYLES

if TYPE_CHECKING:
    from rich.console import RenderableType

    from kedge.proto import outcomes_report as pb

COHORTS_SHOWN: Final = 12
"""The youngest closed ones of each arm, and the youngest open ones."""
CLASS_COLUMNS: Final = {"accuracy": 100, "brier": 1, "log_loss": 1, "ece_corrected": 1}
VALUE_COLUMNS: Final = {"mae": 1, "rmse": 1, "bias": 1}
PERCENT: Final = ("accuracy",)
OTHERS: Final = "(other classes)"
NAMES: Final = {"log_loss": "log-loss", "ece_corrected": "ECE*", "mae": "MAE", "rmse": "RMSE", "brier": "Brier"}


def payload(report: pb.OutcomesReports) -> dict[str, Any]:
    """The report as JSON holds it; what cannot be told is left out."""
    found = MessageToDict(
        report, preserving_proto_field_name=True, always_print_fields_with_no_presence=True,
    )  # fmt: skip
    for bundle in found["bundles"]:
        for arm in bundle["arms"]:
            arm["confusion"] = _confusion(bundle["classes"], arm["confusion"])
    return _numbers(found)  # type: ignore[no-any-return]


def _confusion(classes: list[str], cells: list[str]) -> list[dict[str, Any]]:
    """A row a label, by name, with the predictions it met by name; the last of nine stands for all other classes."""
    side = math.isqrt(len(cells))
    names = [*classes[: side - 1], *(classes[side - 1 :] if len(classes) <= side else [OTHERS])]
    return [
        {"label": name, "predicted": dict(zip(names, map(int, cells[side * row : side * (row + 1)]), strict=False))}
        for row, name in enumerate(names if cells else ())
    ]


def _numbers(value: Any, name: str = "") -> Any:
    """64-bit counts, which protobuf's JSON writes as text, as numbers."""
    if isinstance(value, dict):
        return {key: _numbers(item, "count" if name == "statuses" else key) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item, name) for item in value]
    counts = {"labelled", "predicted", "clipped", "intervals", "rows", "maturity_seconds", "count", "n", "built_n"}
    return int(value) if isinstance(value, str) and name in counts else value


def lines(model: str, report: pb.OutcomesReports) -> list[RenderableType]:
    """The report for people."""
    if not report.bundles:
        return [f"model '{escape(model)}' collects no outcomes: its spec says so, or nothing of it is a prediction"]
    found: list[RenderableType] = []
    for bundle in report.bundles:
        found += _bundle(bundle, report.time)
    return found


def _bundle(bundle: pb.BundleOutcomes, now: float) -> list[RenderableType]:
    came = ", ".join(f"{count:,} {name}" for name, count in sorted(bundle.statuses.items())) or "none yet"
    found: list[RenderableType] = [
        f"[bold]{escape(bundle.model)} {escape(bundle.version)}[/bold]: labels {came}",
        f"labels of a prediction are taken as complete after {lasting(bundle.maturity_seconds)}",
    ]
    if bundle.selective:
        found.append(
            "labels come for some predictions only, depending on the prediction: nothing is said of the others"
        )
    for arm in bundle.arms:
        found += ["", *_arm(bundle, arm, now)]
        if arm.slices:
            found += ["", _slices(arm)]
    for verdict in bundle.verdicts:
        reasons = "; ".join(verdict.reasons) or f"{100 * verdict.effect:.1f} % of {verdict.rows:,}"
        style = STYLES[verdict.verdict]
        found.append(f"[{style}]{verdict.verdict}[/] {verdict.arm} {verdict.name}: {escape(reasons)}")
    found.append("")
    return found


def _arm(bundle: pb.BundleOutcomes, arm: pb.ArmOutcomes, now: float) -> list[RenderableType]:
    columns = CLASS_COLUMNS if bundle.classes else VALUE_COLUMNS
    names = [NAMES.get(name, name) for name in columns]
    numbers = ("labelled", "of", "share", *names, "coverage")
    grid = table(f"{arm.arm}: by time of the prediction", "predicted", "age", "cohort", *numbers, right=numbers)
    closed, young = ([cohort for cohort in arm.cohorts if cohort.closed is done] for done in (True, False))
    chosen = [*closed[-COHORTS_SHOWN:], *young[-COHORTS_SHOWN:]]
    for cohort in chosen:
        when = shown(cohort.start) if cohort.start else "before"
        age = lasting(max(0.0, now - cohort.start)) if cohort.start else ""
        state = "closed" if cohort.closed else "open"
        grid.add_row(when, age, state, *_cells(cohort.figures, columns))
    grid.add_section()
    grid.add_row("closed", "", "judged", *_cells(arm.closed, columns), style="bold")
    grid.add_row("open", "", "", *_cells(arm.open, columns))
    if arm.late.labelled:
        grid.add_row("late labels", "", "apart", *_cells(arm.late, columns))
    found: list[RenderableType] = [grid]
    hidden = len(arm.cohorts) - len(chosen)
    if hidden > 0:
        found.append(f"{hidden:,} older cohorts are not shown; --json shows them all")
    if arm.closed.HasField("accuracy_low"):
        low, high = 100 * arm.closed.accuracy_low, 100 * arm.closed.accuracy_high
        found.append(
            f"whatever the missing labels are, accuracy of all closed predictions is {low:.1f} to {high:.1f} %"
        )
    if arm.closed.clipped:
        found.append(f"{arm.closed.clipped:,} errors were too large to count in full: MAE and RMSE are lower bounds")
    return found


def _slices(arm: pb.ArmOutcomes) -> RenderableType:
    """Closed cohorts by slice, each figure beside that of the same slice at build."""
    names = [figure.name for figure in max((line.figures for line in arm.slices), key=len)]
    numbers = ["labelled", "share", *(text for name in names for text in (NAMES.get(name, name), "at build"))]
    grid = table(f"{arm.arm}: by slice, closed cohorts", "slice", *numbers, "verdict", right=tuple(numbers))
    feature = arm.slices[0].feature
    for line in arm.slices:
        if line.feature != feature:
            grid.add_section()
            feature = line.feature
        figures = {figure.name: figure for figure in line.figures}
        share = f"{100 * line.closed.share:.1f} %" if line.closed.HasField("share") else ""
        style = f"[{STYLES[line.verdict]}]{line.verdict}[/]" if line.verdict else ""
        parts = [text for name in names for text in _beside(figures.get(name))]
        grid.add_row(escape(f"{line.feature} = {line.value}"), f"{line.closed.labelled:,}", share, *parts, style)
    return grid


def _beside(figure: pb.SliceFigure | None) -> tuple[str, str]:
    """A figure now and at build, each with its interval."""
    if figure is None:
        return "", ""
    scale = 100 if figure.name in PERCENT else 1

    def text(name: str, low: str, high: str) -> str:
        if not figure.HasField(name):
            return ""
        value, *bounds = (scale * getattr(figure, part) for part in (name, low, high))
        digits = ".1f" if scale == 100 else ".3g"
        interval = f" ({bounds[0]:{digits}} to {bounds[1]:{digits}})" if figure.HasField(low) else ""
        return f"{value:{digits}}{interval}{' %' if scale == 100 else ''}"

    return text("value", "low", "high"), text("built", "built_low", "built_high")


def _cells(figures: pb.OutcomeFigures, columns: dict[str, int]) -> list[str]:
    def figure(name: str, scale: int) -> str:
        if not figures.HasField(name):
            return ""
        value = getattr(figures, name)
        return f"{scale * value:.1f} %" if scale == 100 else f"{value:.4g}"

    return [
        f"{figures.labelled:,}",
        f"{figures.predicted:,}" if figures.predicted else "",
        figure("share", 100),
        *(figure(name, scale) for name, scale in columns.items()),
        figure("coverage", 100),
    ]
