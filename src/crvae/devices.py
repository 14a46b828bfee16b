"""The devices at hand, and their arithmetic."""

from __future__ import annotations

import platform
from contextlib import AbstractContextManager

import torch


def best_device() -> torch.device:
    """The machine's accelerator, else the CPU."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def device_name(device: torch.device) -> str:
    """The card's name, or the CPUs' number and name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            lines = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
        return f"{len(lines)} x {lines[0]}"
    except (OSError, IndexError):
        return platform.processor() or platform.machine()


def quick_arithmetic(device: torch.device) -> torch.autocast:
    """bf16 where the device is faster by it, for steps whose small errors the next step corrects; else fp32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=bf16_is_faster(device))


def bf16_is_faster(device: torch.device) -> bool:
    """Whether the device multiplies bf16 in hardware, and faster than fp32: the same answer in every process of a machine.

    A CPU does with AMX. With AVX512-BF16 alone AMD's are twice as fast by it, and Intel's half as fast.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    if device.type != "cpu":
        return False
    if torch.cpu._is_amx_tile_supported():  # type: ignore[attr-defined]
        return True
    return torch.cpu._is_avx512_bf16_supported() and "Intel" not in _processor()  # type: ignore[attr-defined]


def _processor() -> str:
    """The CPU's name; torch before 2.11 does not tell it."""
    tell = getattr(torch.cpu, "get_capabilities", dict)
    return str(tell().get("cpu_name", ""))


def kept_generators() -> AbstractContextManager[None]:
    """Within it torch's global generators, of all devices, may be drawn from; afterwards they are as they were."""
    return torch.random.fork_rng(range(torch.cuda.device_count()))
