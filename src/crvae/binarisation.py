"""Black and white images, of which grey ones are the probabilities (the release's digits)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def binarised(x: Float[Tensor, "n c h w"], seed: int) -> Float[Tensor, "n c h w"]:
    """Grey images in [-1, 1] as black and white ones: one Bernoulli draw of each pixel, the same for one seed and place."""
    generator = torch.Generator().manual_seed(seed)
    draws = torch.stack([torch.rand(x.shape[1:], generator=generator) for _ in range(len(x))])
    return torch.where(draws.to(x.device) < (x + 1) / 2, 1.0, -1.0)
