"""The devices at hand, and their arithmetic."""

from __future__ import annotations

import torch


def best_device() -> torch.device:
    """The machine's accelerator, else the CPU."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def quick_arithmetic(device: torch.device) -> torch.autocast:
    """bf16 where the device multiplies it in hardware, for steps whose small errors the next step corrects; else fp32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=has_bf16(device))


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bf16 in hardware: without, bf16 is slower than fp32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    cpu = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()  # type: ignore[attr-defined]
    return device.type == "cpu" and cpu
