"""An LPIPS-style distance between images: SqueezeNet's features, weighted by the LPIPS heads that torchmetrics carries.

The backbone's weights are those that can be had without a download. The heads were fitted to another training of SqueezeNet, so
here they are one fixed weighting of its channels, and the distance is not called LPIPS.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from crvae.evaluation.score import made_by
from crvae.extras import require
from crvae.frozen.backbones import digest
from crvae.frozen.pyramids import feature_pyramid
from crvae.frozen.squeezenet import FEATURES
from crvae.pictures import from_8_bit

NAME = "LPIPS-style distance (SqueezeNet)"
"""What its scores are called."""

LAYERS = tuple(f"features.{place}" for place in (1, 4, 7, 9, 10, 11, 12))
"""SqueezeNet's layers that the heads were made for."""

BATCH = 64
"""Pairs compared at once."""


class PerceptualDistance(nn.Module):
    """Two batches of stored images, `n c h w` each -> the distance of each pair, `n`, on the CPU; 0 for equal images.

    Raises UserError if the weights cannot be downloaded.
    """

    def __init__(self, device: torch.device):
        super().__init__()
        require("the LPIPS-style distance", "torchmetrics")
        from torchmetrics.functional.image.lpips import _LPIPS

        self.metric = _LPIPS(net="squeeze", pnet_rand=True)
        self.metric.scaling_layer = nn.Identity()  # type: ignore[assignment]  # the pyramid normalises images itself
        self.metric.net = feature_pyramid("squeezenet", LAYERS)  # type: ignore[assignment]
        self.sha256 = digest(self.metric)
        self.to(device).eval()
        self.device = device

    @property
    def about(self) -> dict[str, Any]:
        """Provenance of its scores: features, their hash, the resizer, the implementation."""
        about = {"features": FEATURES, "features_sha256": self.sha256, "resizer": "none"}
        return about | made_by("torchmetrics")

    @torch.no_grad()
    def forward(self, one: UInt8[Tensor, "n c h w"], other: UInt8[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
        parts = []
        for a, b in zip(one.split(BATCH), other.split(BATCH), strict=True):
            parts.append(self.metric(from_8_bit(a).to(self.device), from_8_bit(b).to(self.device)).flatten().cpu())
        return torch.cat(parts)
