"""How long calls take on a machine that may be busy: contestants in turns, medians with quartiles, and what others used meanwhile."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median, quantiles

import torch

LEAST, MOST = 3, 50
"""Rounds in which every contestant is called."""
QUIET = 0.1
"""Processors that other programs may use on a machine that is called quiet."""


@dataclass(frozen=True)
class Times:
    """Milliseconds a call: the median and the middle half of the calls."""

    median: float
    low: float
    high: float
    calls: int


def in_turns(
    contestants: Mapping[str, Callable[[], object]],
    budget: float,
    limit: float = math.inf,
    tick: Callable[[], object] = lambda: None,
) -> dict[str, Times]:
    """Times of each contestant, one call each a round, after a call each to warm up.

    Stops after about `budget` seconds, but not before LEAST rounds; after `limit` seconds at once, and a contestant that was
    not called by then is left out. `tick` is called between calls.
    """
    started = time.perf_counter()

    def passed() -> float:
        return time.perf_counter() - started

    ready: dict[str, Callable[[], object]] = {}
    for name, work in contestants.items():
        tick()
        if passed() > limit:
            break
        work()
        ready[name] = work
    calls: dict[str, list[float]] = {name: [] for name in ready}
    for number in range(MOST):
        if passed() > limit or (number >= LEAST and passed() > budget):
            break
        for name, work in ready.items():
            tick()
            if passed() > limit:
                break
            wait()
            begun = time.perf_counter()
            work()
            wait()
            calls[name].append(1e3 * (time.perf_counter() - begun))
    return {name: summary(times) for name, times in calls.items() if times}


def summary(milliseconds: list[float]) -> Times:
    """Of at least one call."""
    low, _, high = quantiles(milliseconds, n=4, method="inclusive") if len(milliseconds) > 1 else milliseconds * 3
    return Times(median(milliseconds), low, high, len(milliseconds))


def wait() -> None:
    """Until a GPU has done what it was told."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


class Others:
    """`Others()`, then `used()`: how many processors other programs kept busy between the two; None where /proc does not say."""

    def __init__(self) -> None:
        self._begun = self._now()

    def used(self) -> float | None:
        begun, now = self._begun, self._now()
        if begun is None or now is None or now[0] <= begun[0]:
            return None
        return max(0.0, (now[1] - begun[1]) / (now[0] - begun[0]))

    def _now(self) -> tuple[float, float] | None:
        """Seconds by the clock, and processor seconds of all programs but this one and its finished children."""
        try:
            with open("/proc/stat", encoding="ascii") as file:
                fields = file.readline().split()
            user, nice, system = map(int, fields[1:4])
            busy = (user + nice + system) / os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError):
            return None
        return time.perf_counter(), busy - sum(os.times()[:4])
