"""One score with everything that says what it is, and the intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

GROUPS = 10
"""Groups of the jackknife."""


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


def jackknife(statistic: Callable[..., Sequence[float]], *samples: Float[Tensor, "n d"]) -> list[dict[str, Any]]:
    """Each number of `statistic(*samples)` with a 95% interval by the delete-a-group jackknife: value, low, high, interval.

    Group g of all samples is left out at once; what the statistic then varies by says how it varies from sample to sample. The
    statistic must be deterministic, the samples in random order, of 2 * GROUPS rows or more. Valid for smooth statistics and
    U-statistics; resampling with replacement is not, since distances count doubled images as matches.
    """
    from scipy.stats import t

    values = statistic(*samples)
    kept = [[sample[torch.arange(len(sample)) % GROUPS != group] for sample in samples] for group in range(GROUPS)]
    left_out = torch.tensor([list(statistic(*parts)) for parts in kept], dtype=torch.float64)
    halves = t.ppf(0.975, GROUPS - 1) * ((GROUPS - 1) * left_out.var(0, unbiased=False)).sqrt()
    return [
        {"value": value, "low": value - half, "high": value + half, "interval": f"jackknife of {GROUPS} groups"}
        for value, half in zip(values, halves.tolist(), strict=True)
    ]


def mean(values: Float[Tensor, " n"]) -> dict[str, Any]:
    """The mean of independent values with its 95% interval by Student's t: value, low, high, interval."""
    from scipy.stats import t

    values = values.double()
    value = float(values.mean())
    half = float(t.ppf(0.975, len(values) - 1) * values.std() / math.sqrt(len(values))) if len(values) > 1 else math.nan
    return {"value": value, "low": value - half, "high": value + half, "interval": "Student's t over images"}


def made_by(package: str) -> dict[str, Any]:
    """Implementation and version of a score that a package computes."""
    return {"implementation": package, "version": version(package)}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
