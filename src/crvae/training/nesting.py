"""The nested objective's latents: some images keep a prefix of their blocks, so that every prefix decodes."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from crvae.models.autoencoder import Autoencoder


def prefixes(
    model: Autoencoder, z: Float[Tensor, " b *d"], chance: float, generator: torch.Generator | None = None
) -> Float[Tensor, " b *d"]:
    """With probability `chance` an image keeps its first t blocks, t uniform on 1 .. T - 1; the others are at the prior's mean.

    At 0 no random number is drawn.
    """
    if not chance:
        return z
    steps, device = model.config.steps, z.device
    first = torch.randint(1, steps, (len(z),), device=device, generator=generator)
    chosen = torch.rand(len(z), device=device, generator=generator) < chance
    return model.prior.mean_fill(z, torch.where(chosen, first, steps))
