"""The devices at hand, and their arithmetic."""

from __future__ import annotations

import torch


def best_device() -> torch.device:
    """The machine's accelerator, else the CPU."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def quick_arithmetic(device: torch.device) -> torch.autocast:
    """bf16 where the device multiplies it in hardware, for steps whose small errors the next step mends; else fp32."""
    able = torch.cuda.is_bf16_supported() if device.type == "cuda" else device.type == "cpu" and cpu_has_bf16()
    return torch.autocast(device.type, torch.bfloat16, enabled=able)


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bf16 in hardware: without, bf16 is slower than fp32."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()  # type: ignore[attr-defined]
