"""From verdicts on labels to alerts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kedge.alerts.model import Cause, Finding, Origin
from kedge.app_alerts import SEVERITY, subject
from kedge.monitor.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kedge.alerts.service import Alerts
    from kedge.bundle.contents import Bundle
    from kedge.monitor.verdict import Judgement

SOURCE: Final = "outcomes"
"""Under which they are observed."""


def tell(alerts: Alerts, bundle: Bundle, judged: Sequence[Judgement]) -> None:
    """Tell the bundle's owners of every problem; what is fine again is over."""
    alerts.observe(
        Origin(bundle.name, bundle.version, bundle.id, bundle.manifest.owners),
        SOURCE,
        [
            Finding(
                Cause.OUTCOMES,
                subject(item),
                SEVERITY[item.verdict],
                f"{item.model} {item.version} ({item.arm}): {item.name}: {item.reasons[0]}",
                "\n".join(item.reasons),
            )
            for item in judged
            if item.verdict.problem
        ],
        judged={subject(item) for item in judged if item.verdict is not Verdict.INSUFFICIENT},
    )
