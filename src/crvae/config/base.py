"""What every configuration shares: its format, its strictness, and lists of numbers as text."""

from __future__ import annotations

import math

from pydantic import BaseModel, ConfigDict

FORMAT = 1
"""Version of everything written to disk: config.yaml, config.json, data card, manifest. A newer one is refused."""


class Frozen(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )  # strict: a file from elsewhere means what it says, "8" is no 8 and 1 is no true


def numbers(text: str) -> tuple[float, ...]:
    """`"0.1, 1.5"` -> `(0.1, 1.5)`: the one place that parses comma lists. Raises ValueError for anything else."""
    try:
        values = tuple(float(part) for part in text.split(",")) if text.strip() else ()
    except ValueError:
        raise ValueError(f"must be numbers separated by commas, got {text!r}") from None
    if any(value < 0 or not math.isfinite(value) for value in values):
        raise ValueError(f"must be finite and not negative, got {text!r}")
    return values
