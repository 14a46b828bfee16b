"""Perceptual reconstruction (section 4.3; Johnson et al. 2016): how a frozen network's features of two images differ."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from crvae import objectives
from crvae.frozen.pyramids import FeaturePyramid, feature_pyramid

SHIFT = 8
"""Frozen networks see images moved by 0..7 pixels each way: their strides would else print their grid into what they judge."""


class Perceptual:
    """The term through a frozen network, which is not a module of whoever asks: neither trained, nor wrapped, nor stored."""

    def __init__(self, pyramid: FeaturePyramid):
        self._pyramid = pyramid

    def __call__(self, x_hat: Float[Tensor, "b c h w"], x: Float[Tensor, "b c h w"]) -> Float[Tensor, ""]:
        """Of reconstructions in [-1, 1] against their originals, in one window that is drawn anew at each call."""
        pyramid = self._pyramid.to(x.device)
        top, left = torch.randint(SHIFT, (2, 1), device=x.device)
        height, width = (side - SHIFT + 1 for side in x.shape[-2:])
        rows, columns = (first + torch.arange(side, device=x.device) for first, side in ((top, height), (left, width)))
        windows = (images.index_select(2, rows).index_select(3, columns) for images in (x_hat, x))
        shown, wanted = (window.contiguous(memory_format=torch.channels_last) for window in windows)
        with torch.no_grad():
            targets = pyramid(wanted)
        return objectives.perceptual(pyramid(shown), targets)


def perceptual(weight: float, network: str) -> Perceptual | None:
    """The term through the network of this name; None where its weight is 0. Raises UserError if it cannot be fetched."""
    return Perceptual(feature_pyramid(network)) if weight else None
