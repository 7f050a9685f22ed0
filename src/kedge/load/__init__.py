"""Load on an Open Inference gRPC server: open loop, latency from the intended send time, nothing sampled."""

from __future__ import annotations

from kedge.load.messages import messages, order, random_rows
from kedge.load.plan import MAX_REQUESTS, Plan, Security
from kedge.load.report import Interval, Latency, Origin, Report
from kedge.load.run import Labels, Progress, run

__all__ = [
    "MAX_REQUESTS",
    "Interval",
    "Labels",
    "Latency",
    "Origin",
    "Plan",
    "Progress",
    "Report",
    "Security",
    "messages",
    "order",
    "random_rows",
    "run",
]
