"""In which role a key speaks for a bundle."""

from __future__ import annotations

from typing import Literal

Role = Literal["builder", "evaluator", "approver"]
"""Who built it, who measured it independently, who lets it into production."""
