"""What the seeds of two rows say of each other: values with their intervals, and one rule for every verdict."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import torch

from crvae import intervals
from experiments.results import RESULTS

NORMAL, LEARNED = "N(0, I)", "learned prior"
VIEWS = {NORMAL: {"": "N(0, I)"}, LEARNED: {"": "own prior", "kid": "own prior, classifier"}}
"""Prior -> score -> the view of scores.json that has it on a classifier's features, where there are several; "" stands for all others."""
LOWER = {"kid", "lpips", "nll"}
"""Scores that are better if they are lower."""
SMALL = 0.03
"""A difference below this share of the other's value is none, however sure."""
OPEN = "not shown"
"""The verdict where the seeds show neither that one is better nor that the other is."""

Place = tuple[str, str]
"""A table and a row of it."""


@dataclass(frozen=True)
class Comparison:
    """Two rows, by the same seeds; `ours` is what the paper says is better."""

    what: str
    prior: str
    ours: Place
    theirs: Place


def verdict(ours: list[float], theirs: list[float], score: str) -> str:
    """What the seeds say of `ours` being better than `theirs`, seed by seed.

    By the 95% interval of the mean difference (Student's t): yes or no if it is on one side of 0, rather yes or rather no if it
    is not but every seed is, of three or more, otherwise not shown. Nor is a difference of less than SMALL of the other's mean.
    """
    sign = -1 if score in LOWER else 1
    differences = [sign * (a - b) for a, b in zip(ours, theirs, strict=True)]
    found = intervals.mean(torch.tensor(differences, dtype=torch.float64))
    if abs(found["value"]) < SMALL * abs(sum(theirs) / len(theirs)):
        return OPEN
    if found["low"] > 0 or found["high"] < 0:
        return "**yes**" if found["low"] > 0 else "**no**"
    if len(differences) >= 3 and (min(differences) > 0 or max(differences) < 0):
        return "rather yes" if min(differences) > 0 else "rather no"
    return OPEN


def with_interval(values: list[float], short: bool = False) -> str:
    """The mean over seeds and its 95% interval, or with `short` half its width.

    Two digits of half the width, `short` one, or two from 10 to 19; three of the mean at most. Where the interval of values above
    0 comes near it or goes below, it says less than the values: then these.
    """
    found = intervals.mean(torch.tensor(values, dtype=torch.float64))
    if min(values) > 0 and found["low"] < 0.1 * found["value"]:
        return ", ".join(f"{value:#.3g}".rstrip(".") for value in values)
    mean, low, high = (found[name] for name in ("value", "low", "high"))
    leading, half = math.floor(math.log10(abs(mean) or 1)), high - mean
    digits = 2
    if half > 0:
        size = math.floor(math.log10(half))
        digits = -size if short and half >= 1.95 * 10**size else 1 - size
    digits = max(0, min(2 - leading, digits))
    if short:
        return f"{mean:.{digits}f}\u00a0±\u00a0{half:.{digits}f}"
    return f"{mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def scores(place: Place, prior: str, score: str) -> dict[int, dict[str, Any]]:
    """Seed -> what is kept of the score; without the seeds that have none."""
    table, row = place
    kept = json.loads((RESULTS / table / "scores.json").read_text())
    view = VIEWS[prior].get(score, VIEWS[prior][""])
    found = dict(zip(kept["seeds"], kept["scores"][row][view], strict=True))
    return {seed: one[score] for seed, one in found.items() if score in one}


def paired(row: Comparison, score: str) -> tuple[list[float], list[float]]:
    """Ours and theirs, seed by seed. Raises ValueError if two networks measured them: their scores cannot be compared."""
    ours, theirs = (scores(place, row.prior, score) for place in (row.ours, row.theirs))
    networks = {one.get("features_sha256") for kept in (ours, theirs) for one in kept.values()}
    if len(networks) > 1:
        raise ValueError(f"{score} of {row.what} is of {len(networks)} networks: score both rows with one of them")
    seeds = sorted(ours.keys() & theirs.keys())
    return [ours[seed]["value"] for seed in seeds], [theirs[seed]["value"] for seed in seeds]
