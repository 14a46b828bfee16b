"""The devices at hand, and their arithmetic."""

from __future__ import annotations

import time
from functools import lru_cache

import torch

MEASURED, TRIES = 512, 5
"""Rows and columns of the matrices that a CPU multiplies to show which arithmetic is faster, and how often: 20 ms together."""


def best_device() -> torch.device:
    """The machine's accelerator, else the CPU."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def quick_arithmetic(device: torch.device) -> torch.autocast:
    """bf16 where the device is faster by it, for steps whose small errors the next step corrects; else fp32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=bf16_is_faster(device))


def bf16_is_faster(device: torch.device) -> bool:
    """Whether the device multiplies bf16 in hardware, and faster than fp32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return device.type == "cpu" and _cpu_is_faster_by_bf16()


@lru_cache
def _cpu_is_faster_by_bf16() -> bool:
    """With AMX it is. With AVX512-BF16 alone it depends on the maker, half or twice as fast, so the CPU is asked."""
    if torch.cpu._is_amx_tile_supported():  # type: ignore[attr-defined]
        return True
    return torch.cpu._is_avx512_bf16_supported() and _seconds(torch.bfloat16) < _seconds(torch.float32)  # type: ignore[attr-defined]


def _seconds(dtype: torch.dtype) -> float:
    """What a product of two matrices takes, the fastest of TRIES after a first one."""
    a = torch.ones(MEASURED, MEASURED, dtype=dtype)
    taken: list[float] = []
    for _ in range(1 + TRIES):
        begun = time.perf_counter()
        torch.mm(a, a)
        taken.append(time.perf_counter() - begun)
    return min(taken[1:])
