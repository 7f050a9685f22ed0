"""How verdicts and causes look in the terminal and in plots."""

from __future__ import annotations

from typing import Final

from kedge.proto import admin as pb

STYLES: Final = {"OK": "green", "WARN": "yellow", "CRITICAL": "bold red", "INSUFFICIENT": "dim"}


def cause_name(cause: int) -> str:
    """``data``, ``pipeline``, ``model``, ``system``; empty where there is no problem."""
    return "" if cause in (pb.CAUSE_UNSPECIFIED, pb.NONE) else pb.Cause.Name(cause).lower()
