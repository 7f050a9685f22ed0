"""The generated parts of the two READMEs: tables of one run of the suite, between markers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from benchmarks.load.field import NATIVE, PORTABLE
from benchmarks.peers.ratio import Ratio
from benchmarks.peers.serving import OVER, RATIOS
from benchmarks.report import BenchmarkError, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

BEGIN: Final = "<!-- peers: written by python -m benchmarks.peers.publish -->"
END: Final = "<!-- peers: end -->"


class SectionError(BenchmarkError):
    """A document or a README that cannot be used, and why."""


class Found:
    """What a run of the suite found.

    Args:
        document: of `python -m benchmarks --only peers --json`.

    Raises:
        SectionError: it is not that.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        try:
            suite = document["suites"]["peers"]
            self.machine: dict[str, str] = document["machine"]
            self.other_work = float(suite["other_work_cores"])
            self.tables = tuple(_table(each) for each in suite["tables"])
        except (KeyError, TypeError, IndexError) as error:
            raise SectionError("this is not what `python -m benchmarks --only peers --json` prints") from error

    def table(self, title: str) -> Table:
        return next(table for table in self.tables if table.title == title)

    def ratios(self, kedge: str) -> dict[str, list[Ratio]]:
        """By peer: requests a second 8 x 8 and 2 x 64, CPU in both, latency. Empty for a plane not measured."""
        rows = [(str(row[0]).split(OVER), row[1:]) for row in self.table(RATIOS).rows]
        return {peer: [Ratio.parse(str(cell)) for cell in cells] for (name, peer), cells in rows if name == kedge}

    def where(self) -> str:
        """One line: when, on what, by which command, how quiet."""
        return (
            f"Measured {self.machine['date']} by `python -m benchmarks --only peers` on {self.machine['machine']}; "
            f"{self.machine['software']}. Meanwhile other work took {self.other_work:.2f} cores."
        )


def details(found: Found) -> str:
    """For benchmarks/README.md: everything."""
    return "\n".join([found.where(), "", *(table.markdown() for table in found.tables)]).rstrip()


def summary(found: Found) -> str:
    """For README.md: ratios of the native plane, and the portable plane's requests a second.

    Raises:
        SectionError: one of the planes was not measured.
    """
    portable = found.ratios(PORTABLE)
    if not portable or not found.ratios(NATIVE):
        raise SectionError("one of Kedge's planes was not measured; the tables' notes say why")
    rows = []
    for peer, (wide, deep, cpu, _, latency) in found.ratios(NATIVE).items():
        rows.append((peer, str(wide), str(deep), str(cpu), str(latency), str(portable[peer][0])))
    columns = (
        "Kedge is better by (median, range of turns)",
        "requests a second, 8 x 8",
        "the same, 2 x 64",
        "CPU a request",
        "latency of one client",
        "portable plane: requests a second",
    )
    lines = Table("", columns, tuple(rows)).markdown().splitlines()[2:]
    return "\n".join([*lines, "", found.where()])


def replaced(text: str, part: str) -> str:
    """The text with `part` between its markers.

    Raises:
        SectionError: it has not exactly one of each marker, in order.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise SectionError(f"it must have '{BEGIN}' and '{END}' once each, in this order")
    head, _, rest = text.partition(BEGIN)
    return f"{head}{BEGIN}\n\n{part}\n\n{END}{rest.partition(END)[2]}"


def _table(given: dict[str, Any]) -> Table:
    rows: Sequence[dict[str, Any]] = given["rows"]
    return Table(given["title"], tuple(rows[0]), tuple(tuple(row.values()) for row in rows), tuple(given["notes"]))
