"""How the demo rolls its two releases out: seconds and hundreds of requests where life takes minutes and thousands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

RETRAINED: Final = """\
# Retrained: it is meant to predict otherwise, so its scores may differ; it must not fail, stall or be wrong more often.
strategy: canary
shadow: {pairs: 1000, min_seconds: 1s}
steps:
  - {share: 20%, units: 500, min_seconds: 1s}
  - {share: 50%, units: 2500, min_seconds: 2s}          # the last step asks for proof that harm is below the margins
baking: {keep: 20%, seconds: 2s, units: 500}
guards:
  slow: {required: false}          # it watches; seconds are too short to know how long batches of each size take
  distribution: {enabled: false}
  confidence: {enabled: false}
  disagreement: {enabled: false}
  difference: {enabled: false}
"""
TIDIED: Final = """\
# The same model behind a tidied feature pipeline: nothing a client sees may change, so scores that differ roll it back.
strategy: canary
steps:
  - {share: 20%, units: 1000, min_seconds: 2s}
  - {share: 50%, units: 2500, min_seconds: 2s}
baking: {keep: 20%, seconds: 2s, units: 500}
guards:
  slow: {required: false}          # it watches; seconds are too short to know how long batches of each size take
  distribution: {tolerance: 10%, action: gate}
"""


def write(directory: Path) -> tuple[Path, Path]:
    """Write both plans as YAML into `directory`: of the retrained release and of the tidied one."""
    paths = directory / "plan-retrained.yaml", directory / "plan-tidied.yaml"
    for path, text in zip(paths, (RETRAINED, TIDIED), strict=True):
        path.write_text(text)
    return paths
