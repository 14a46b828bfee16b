"""95% intervals of what is measured on a sample: of means, of shares, and, by leaving parts out, of any statistic.

Raises UserError if scipy, which knows the distributions, is missing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypedDict

import torch
from jaxtyping import Float
from torch import Tensor

from crvae.extras import require

GROUPS = 10
"""Groups of the jackknife."""

LEVEL = 0.95


class Interval(TypedDict):
    """An estimate and its 95% interval."""

    value: float
    low: float
    high: float
    interval: str
    """How the interval was found."""


def mean(values: Float[Tensor, " n"]) -> Interval:
    """The mean of independent values, by Student's t; of a single one the interval has no bounds."""
    values = values.double()
    value = float(values.mean())
    several = len(values) > 1
    half = _student(len(values) - 1) * float(values.std()) / math.sqrt(len(values)) if several else math.inf
    return {"value": value, "low": value - half, "high": value + half, "interval": "Student's t over images"}


def share(hits: int, of: int) -> Interval:
    """The share `hits / of` of independent cases, by Wilson's score."""
    require("an interval", "scipy")
    from scipy.stats import binomtest

    bounds = binomtest(hits, of).proportion_ci(LEVEL, method="wilson")
    return {"value": hits / of, "low": float(bounds.low), "high": float(bounds.high), "interval": "Wilson's score"}


def jackknife(statistic: Callable[..., Sequence[float]], *samples: Float[Tensor, "n d"]) -> list[Interval]:
    """Each number of `statistic(*samples)`, by the delete-a-group jackknife.

    Group g of all samples is left out at once; what the statistic then varies by says how it varies from sample to sample. The
    statistic must be deterministic, the samples in random order, of 2 * GROUPS rows or more. Valid for smooth statistics and
    U-statistics; resampling with replacement is not, since distances count doubled images as matches. A statistic that no left
    out group changes, such as a share of 0, gets an interval of no width.
    """
    values = statistic(*samples)
    kept = [[sample[torch.arange(len(sample)) % GROUPS != group] for sample in samples] for group in range(GROUPS)]
    left_out = torch.tensor([list(statistic(*parts)) for parts in kept], dtype=torch.float64)
    halves = _student(GROUPS - 1) * ((GROUPS - 1) * left_out.var(0, unbiased=False)).sqrt()
    return [
        {"value": value, "low": value - half, "high": value + half, "interval": f"jackknife of {GROUPS} groups"}
        for value, half in zip(values, halves.tolist(), strict=True)
    ]


def widened(found: Interval, other: Interval) -> Interval:
    """The estimate of `found`, and the interval from the lower of both low bounds to the higher of both high bounds."""
    return {
        "value": found["value"],
        "low": min(found["low"], other["low"]),
        "high": max(found["high"], other["high"]),
        "interval": f"{found['interval']}, widened to hold {other['interval']}",
    }


def _student(freedom: int) -> float:
    """How many standard errors the interval reaches to either side."""
    require("an interval", "scipy")
    from scipy.stats import t

    return float(t.ppf((1 + LEVEL) / 2, freedom))
