"""What every configuration shares: its format, its strictness, and lists of numbers as text."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from crvae.errors import UserError

FORMAT = 1
"""Version of everything written to disk: config.yaml, config.json, data card, manifest. A newer one is refused."""


def check_format(body: Any, path: Path | str, what: str = "a crvae configuration") -> None:
    """Raises UserError if `body`, read from `path`, has no format number, or a newer one than this crvae reads."""
    version = body.get("format") if isinstance(body, dict) else None
    if type(version) is not int or version < 1:
        raise UserError(f"{path} is not {what}: it has no format number")
    if version > FORMAT:
        raise UserError(f"{path} has format {version}, newer than this crvae reads ({FORMAT}): upgrade crvae")


class Frozen(BaseModel):
    # strict: values are not converted, so "8" is rejected where 8 is expected
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


def numbers(text: str) -> tuple[float, ...]:
    """`"0.1, 1.5"` -> `(0.1, 1.5)`: the one place that parses comma lists. Raises ValueError for anything else."""
    try:
        values = tuple(float(part) for part in text.split(",")) if text.strip() else ()
    except ValueError:
        raise ValueError(f"must be numbers separated by commas, got {text!r}") from None
    if any(value < 0 or not math.isfinite(value) for value in values):
        raise ValueError(f"must be finite and not negative, got {text!r}")
    return values
