"""Every plan by the name that `make` gives it."""

from __future__ import annotations

from experiments.long_plans import LONG
from experiments.plan import Plan
from experiments.short_plans import SHORT

PLANS: dict[str, Plan] = SHORT | LONG
"""Table or figure -> its plan. Rows of the same recipe and options are trained once and shared between plans."""
