"""A small residual network without pretrained weights: what a classifier of aligned drawings learns from scratch in minutes."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

WIDTH = 32
"""Channels of the first layers."""

FEATURES = 8 * WIDTH * 2 * 2


def small() -> nn.Sequential:
    """Normalised images `b 3 64 64` -> `b 1024`: the mean in each quarter of the last maps, so that places stay apart."""
    w = WIDTH
    return nn.Sequential(
        _convolution(3, w, 2), _convolution(w, w, 1),  # w 32 32
        _convolution(w, 2 * w, 2), Residual(2 * w),  # 2w 16 16
        _convolution(2 * w, 4 * w, 2), Residual(4 * w),  # 4w 8 8
        _convolution(4 * w, 8 * w, 2), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
    )  # fmt: skip


class Residual(nn.Module):
    """Two convolutions beside a path without any: `b c h w` -> the same shape."""

    def __init__(self, channels: int):
        super().__init__()
        self.inner = nn.Sequential(
            _convolution(channels, channels, 1),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return F.relu(x + self.inner(x))


def _convolution(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )
