"""One score with everything that says what it is."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any


@dataclass(frozen=True)
class Score:
    """A value with its 95% interval and its provenance: without all of it, two scores cannot be compared."""

    name: str
    """What a reader should call it, the features included."""
    value: float
    low: float
    high: float
    interval: str
    """How the interval was found."""
    better: str
    """`higher`, `lower`, or `neither`."""
    unit: str
    implementation: str
    version: str
    images: int
    seed: int
    features: str | None = None
    features_sha256: str | None = None
    resizer: str | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """For `--json`; what is not finite becomes null."""
        return _finite(asdict(self))


def made_by(package: str) -> dict[str, Any]:
    """Implementation and version of a score that a package computes."""
    return {"implementation": package, "version": version(package)}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
