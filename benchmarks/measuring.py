"""Clocks and ceilings. Contestants take turns, so that whatever else the machine does meets all of them alike."""

from __future__ import annotations

import contextlib
import ctypes
import time
from collections.abc import Callable, Iterator, Mapping

import torch
from torch.profiler import ProfilerActivity, profile

from crvae.training.allocation import keep_freed_memory

FAMILIES = {
    "convolutions": ("convolution",),
    "matrix products": ("mm", "addmm", "bmm"),
    "LSTM": ("rnn", "lstm"),
    "max pooling": ("max_pool",),
    "batch norm": ("batch_norm",),
    "activations": ("leaky_relu", "threshold", "clamp_min", "relu", "tanh", "sigmoid"),
    "optimisers and averages": ("adam", "lerp"),
}
"""Parts of a step, by what torch's operators are called."""


def turns(contestants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Seconds of the fastest of `rounds` calls of each contestant, after one to warm up, in turns."""
    best = dict.fromkeys(contestants, float("inf"))
    for number in range(rounds + 1):
        for name, work in contestants.items():
            started = time.perf_counter()
            work()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if number:
                best[name] = min(best[name], time.perf_counter() - started)
    return best


@contextlib.contextmanager
def default_allocation() -> Iterator[None]:
    """glibc's own way with memory for as long as code runs that does not ask for another, then crvae's again."""
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        for parameter, value in ((-4, 65536), (-3, 32 << 20), (-1, 64 << 20)):  # mmaps, their threshold, trimming
            libc.mallopt(parameter, value)
        libc.malloc_trim(0)
    try:
        yield
    finally:
        keep_freed_memory()


def ceiling(dtype: torch.dtype, device: torch.device, calls: int = 5) -> float:
    """FLOP/s of square matrix products: the most that this machine and torch do."""
    size = 8192 if device.type == "cuda" else 3072
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return 2 * size**3 / turns({"product": lambda: a @ b}, calls)["product"]


def shares(work: Callable[[], object]) -> dict[str, float]:
    """Share of the processor's time that each family of operators takes in `work`."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        work()
    spent = dict.fromkeys([*FAMILIES, "other"], 0.0)
    for event in profiled.key_averages():
        name = event.key.removeprefix("aten::")
        owner = next((f for f, marks in FAMILIES.items() if any(_is(mark, name) for mark in marks)), "other")
        spent[owner] += event.self_cpu_time_total
    total = sum(spent.values())
    return {family: time_ / total for family, time_ in sorted(spent.items(), key=lambda item: -item[1])}


def _is(mark: str, name: str) -> bool:
    return name == mark if mark.endswith("mm") else mark in name.lower()
