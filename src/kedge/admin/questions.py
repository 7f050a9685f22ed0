"""What is asked of a server without changing it: status, drift, recommendations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import kedge
from kedge.admin.handlers import Method
from kedge.admin.messages import drift_message
from kedge.admin.rollout_messages import model_message
from kedge.proto import admin as pb

if TYPE_CHECKING:
    from kedge.admin.handlers import Call
    from kedge.rollout.manager import Rollouts
    from kedge.rollout.view import View


class Questions:
    """GetStatus and GetDriftReport.

    Args:
        view: what the answers are made of.
        rollouts: where every model stands.
    """

    def __init__(self, view: View, rollouts: Rollouts) -> None:
        self._view = view
        self._rollouts = rollouts

    def methods(self) -> dict[str, Method]:
        """By name."""
        return {
            "GetStatus": Method(pb.GetStatusRequest, self.status),
            "GetDriftReport": Method(pb.GetDriftReportRequest, self.drift),
        }

    def status(self, request: pb.GetStatusRequest, _call: Call) -> pb.ServerStatus:
        """Answer GetStatus."""
        view = self._view
        answer = pb.ServerStatus(
            kedge_version=kedge.__version__,
            plane=view.plane,
            kernel=view.kernel,
            kernel_isa=view.kernel_isa,
            uptime_seconds=max(0.0, view.clock() - view.started),
            ready=view.ready(),
            models=map(model_message, self._rollouts.status(request.model)),
        )
        totals = view.totals()
        for model in answer.models:
            if not model.bundle:
                continue
            model.has_reference = view.bundle(model.bundle).distributions is not None
            for key, counts in totals.items():
                if key.bundle == model.bundle:
                    model.rows += counts.rows
                    for code, count in enumerate(counts.status.tolist()):
                        if count:
                            model.requests[code] += count
        return answer

    def drift(self, request: pb.GetDriftReportRequest, _call: Call) -> pb.DriftReport:
        """Answer GetDriftReport."""
        return drift_message(self._view.drift(request.model, request.since))
