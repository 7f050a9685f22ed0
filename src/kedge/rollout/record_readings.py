"""Reading guards again from the numbers of a record, and whether they prove what the record says they did."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from kedge.rollout.recompute import NumbersError, Proof, recompute

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kedge.audit.record import Record

PROVEN: Final = ("harm", "proven")
UNJUDGED: Final = " (as it was counted then: units in batches of a size without a line as not slow)"
"""Said of records by releases that did not count which units could be judged."""


def readings_of(record: Record) -> tuple[Mapping[str, Any], ...]:
    """The readings that a record's decision rests on; none where it rests on none."""
    found = record.details.get("readings")
    return tuple(one for one in found if isinstance(one, dict)) if isinstance(found, list) else ()


def read_again(record: Record) -> Iterator[tuple[str, tuple[tuple[str, str, str], ...]]]:
    """Read every guard of a record again.

    Yields:
        Its name, with what is to be known of how it counted, and where it differs: field, as recorded, as it comes out
        now.
    """
    for said in readings_of(record):
        guard, numbers = str(said.get("guard")), said.get("numbers")
        try:
            numbers = numbers if isinstance(numbers, dict) else {}
            proof = recompute(numbers)
            differences = (*_bounds(said, proof), *_verdict(said, proof), *_evidence(record, guard, proof))
            yield guard + (UNJUDGED if guard == "slow" and "of" not in numbers else ""), differences
        except (NumbersError, KeyError, ValueError) as error:
            yield guard, (("numbers", "whole", str(error)),)


def _bounds(said: Mapping[str, Any], proof: Proof) -> Iterator[tuple[str, str, str]]:
    for name in ("log_e", "upper", "lower"):
        text, value = said.get(name), getattr(proof, name)
        if text is not None and (value is None or not _close(float(str(text)), value)):
            yield name, str(text), "none" if value is None else repr(value)


def _verdict(said: Mapping[str, Any], proof: Proof) -> Iterator[tuple[str, str, str]]:
    """Whether the guard fired, and whether it proved that nothing is wrong; the rest is words for lack of both."""
    numbers = said["numbers"]
    limit = float(numbers.get("margin", numbers.get("tolerance", "nan")))
    if numbers["method"] == "bands":
        fired = proof.lower is not None and proof.lower > limit
    else:
        fired = proof.log_e is not None and proof.log_e >= -math.log(float(numbers["alpha"]))
    found = "harm" if fired else "proven" if proof.upper is not None and proof.upper < limit else "open"
    verdict = str(said.get("verdict"))
    # What is called insufficient is not judged, whatever its numbers: too few units, no baseline, labels that differ.
    if verdict not in ("insufficient", found) and (verdict in PROVEN or fired):
        yield "verdict", verdict, found


def _evidence(record: Record, guard: str, proof: Proof) -> Iterator[tuple[str, str, str]]:
    verdict = record.verdict
    if verdict is None or verdict.test != guard or verdict.e_value is None or proof.log_e is None:
        return
    if not math.isclose(
        math.log(max(float(verdict.e_value), 1e-300)), min(proof.log_e, 700.0), rel_tol=1e-6, abs_tol=1e-9
    ):
        yield "e_value", verdict.e_value, repr(math.exp(min(proof.log_e, 700.0)))


def _close(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
