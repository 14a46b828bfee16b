"""What the figures are held against."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.steps import DENSE, RECURRENT

Result = dict[str, Any]


def _speed(result: Result, name: str, other: str) -> float:
    rates = result["steps"]["images_per_second"]
    return rates[name] / rates[other]


def _used(result: Result) -> float:
    return (
        result["steps"]["gflop_per_second"][f"crvae {RECURRENT} bf16"]
        / result["steps"]["ceiling_gflop_per_second"]["bf16"]
    )


def _latency(result: Result, kind: str, batches: str = "") -> float:
    wanted = f"{kind} bf16 batch {batches}"
    return max(entry["ratio"] for name, entry in result["latency"].items() if name.startswith(wanted))


GOALS: list[tuple[str, str, float, Callable[[Result], float]]] = [
    ("a step in bf16 against the straightforward port, images/s", ">=", 3.2,
     lambda r: _speed(r, f"crvae {RECURRENT} bf16", "straightforward port fp32")),
    ("a step in fp32 against the straightforward port, images/s", ">=", 1.4,
     lambda r: _speed(r, f"crvae {RECURRENT} fp32", "straightforward port fp32")),
    ("a step in bf16 of the dense model against pythae's VAEGAN, images/s", ">=", 2.7,
     lambda r: _speed(r, f"crvae {DENSE} bf16", "pythae VAEGAN fp32")),
    ("share of the bf16 ceiling that a step reaches", ">=", 0.8, _used),
    ("inference latency in bf16 against the VAE's, batch 128 (the paper's)", "<=", 1.45, lambda r: _latency(r, "inference", "128")),
    ("inference latency in bf16 against the VAE's, worst of batch 1, 16, 128", "<=", 1.45, lambda r: _latency(r, "inference")),
    ("generation latency in bf16 against the VAE's, batch 128 (the paper's)", "<=", 1.1, lambda r: _latency(r, "generation", "128")),
    ("generation latency in bf16 against the VAE's, worst of batch 1, 16, 128", "<=", 1.1, lambda r: _latency(r, "generation")),
    ("peak training memory against VAE-GAN's", "<=", 1.02, lambda r: r["memory"]["ratio"]),
    ("loader's images/s on one thread against the step's", ">=", 10,
     lambda r: r["loader"]["images_per_second"] / r["steps"]["images_per_second"][f"crvae {RECURRENT} bf16"]),
    ("two processes with one thread against one with two, images/s", ">=", 0.9, lambda r: r["parallel"]["ratio"]),
]  # fmt: skip
"""Name, direction, limit, and the figure in a result."""


def judged(result: Result) -> list[dict[str, Any]]:
    """Every goal with its figure; None where the result does not hold it."""
    rows = []
    for name, direction, limit, figure in GOALS:
        try:
            value = figure(result)
        except (KeyError, TypeError, ValueError):
            value = None
        met = value is not None and (value >= limit if direction == ">=" else value <= limit)
        rows.append({"goal": name, "limit": f"{direction} {limit}", "figure": value, "met": met})
    return rows
