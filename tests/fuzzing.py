"""How many inputs a property is tried on: few in the suite and the same each time, very many by `make fuzz`."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings

LONG = int(os.environ.get("FUZZ", "0"))
"""Inputs of each property; 0: few."""


def many(count: int, *, times: int = 1) -> Callable[[Callable], Callable]:
    """`count` inputs of a property, and `times` LONG of `make fuzz`, which has every test with this mark."""
    chosen = settings(
        max_examples=times * LONG or count,
        deadline=None,
        derandomize=not LONG,
        suppress_health_check=list(HealthCheck),
    )
    return lambda test: pytest.mark.fuzz(chosen(test))
