"""Differentiable augmentation of what a discriminator sees (Zhao et al. 2020)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

SHIFT = 1 / 8
"""The most that an image moves each way, as a share of its side; what comes in is mid-grey."""
BRIGHTNESS, SATURATION, CONTRAST = 0.5, 1.0, 0.5
"""Half-widths of the uniform draws about the images as they are, in units of [-1, 1] (brightness) and of themselves."""


def augmented(images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """Each image with a brightness, saturation, contrast and place of its own; draws are torch's global ones."""
    b, _, h, w = images.shape

    def draw(half: float) -> Tensor:
        return (torch.rand(b, 1, 1, 1, device=images.device) * 2 - 1) * half

    images = images + draw(BRIGHTNESS)
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * (1 + draw(SATURATION))
    level = images.mean((1, 2, 3), keepdim=True)
    images = level + (images - level) * (1 + draw(CONTRAST))
    top, left = (
        torch.randint(-int(side * SHIFT), int(side * SHIFT) + 1, (b, 1, 1), device=images.device) for side in (h, w)
    )
    rows = torch.arange(h, device=images.device).view(1, h, 1) + top
    columns = torch.arange(w, device=images.device).view(1, 1, w) + left
    inside = ((rows >= 0) & (rows < h) & (columns >= 0) & (columns < w)).unsqueeze(1)
    places = rows.clamp(0, h - 1) * w + columns.clamp(0, w - 1)  # b h w
    moved = images.flatten(2).gather(2, places.view(b, 1, h * w).expand(-1, images.shape[1], -1))
    return moved.view_as(images) * inside
