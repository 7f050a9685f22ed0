"""Spec to bundle: runs the model, and measures what a bundle says about itself."""

from __future__ import annotations

from kedge.build.builder import STAGES, BuildResult, build

__all__ = ["STAGES", "BuildResult", "build"]
