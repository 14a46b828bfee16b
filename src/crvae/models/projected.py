"""A discriminator that sees images through a frozen network alone (projected GAN; Sauer et al. 2021)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from crvae.config.stage1 import DiscriminatorConfig, ModelConfig
from crvae.errors import UserError
from crvae.frozen.pyramids import LAYERS, feature_pyramid
from crvae.models.discriminator import Discriminator

PLACES = 4
"""Rows and columns of the features that the latent head reads."""
HIDDEN = 128
"""Channels of the latent head at each place."""


class ProjectedDiscriminator(Discriminator):
    """Images `b c h w` in [-1, 1] -> logits of being real `b n`, one for each of n places over all scales, and the latent `b *e`.

    A frozen network gives features at three scales, fixed random 1x1 convolutions mix them, and one small head judges each
    scale. Network and mixtures are neither trained nor stored: the first is fetched, the others are drawn from a fixed seed.
    Raises UserError if the network cannot be fetched.
    """

    def __init__(self, config: DiscriminatorConfig, model: ModelConfig, latent_shape: tuple[int, ...] | None = None):
        super().__init__()
        if config.network not in LAYERS:
            raise UserError(f"there is no discriminator's network {config.network!r}: choose {', '.join(LAYERS)}")
        with torch.device("cpu"), torch.random.fork_rng(devices=[]):  # also where all else is built without memory
            self._frozen = (feature_pyramid(config.network),)
        self.config = config
        self.latent_shape = latent_shape
        width, scales = config.projections, len(LAYERS[config.network])
        self.projections = nn.ModuleList(Projection(width, scale) for scale in range(scales))
        self.adversarial_head = nn.ModuleList(_head(width, strides=2 - scale) for scale in range(scales))
        self.latent_head = None
        if latent_shape is not None:
            self.latent_head = nn.Sequential(
                nn.Conv2d(scales * width, HIDDEN, 1),
                nn.LeakyReLU(0.2),
                nn.Flatten(),
                nn.Linear(HIDDEN * PLACES**2, math.prod(latent_shape)),
                nn.Unflatten(1, latent_shape),
            )

    def forward(
        self, images: Float[Tensor, "b c h w"], real: int = 0
    ) -> tuple[Float[Tensor, "b n"], Float[Tensor, " b2 *e"] | None]:
        pyramid = self._frozen[0].to(images.device)
        images = images.contiguous(memory_format=torch.channels_last)
        projected = [
            projection(features, real) for projection, features in zip(self.projections, pyramid(images), strict=True)
        ]
        maps = [head(f).float().flatten(1) for head, f in zip(self.adversarial_head, projected, strict=True)]
        estimate = None
        if self.latent_head is not None and real < len(images):
            seen = torch.cat([F.adaptive_avg_pool2d(f[real:], PLACES) for f in projected], 1)
            estimate = self.latent_head(seen).float()
        return torch.cat(maps, 1), estimate

    def groups(self) -> dict[str, list[nn.Parameter]]:
        heads = {"adversarial_head": self.adversarial_head, "latent_head": self.latent_head}
        return {name: list(head.parameters()) for name, head in heads.items() if head is not None}


class Projection(nn.Module):
    """One scale's features `b k h w` -> fixed random mixtures of them, `b width h w`, about centred and of unit scale.

    Centre and scale of each mixture are means over the first BATCHES batches of real images, and fixed from then on.
    """

    BATCHES = 64
    mean: Tensor
    square: Tensor
    batches: Tensor

    def __init__(self, width: int, seed: int):
        super().__init__()
        self._width, self._seed = width, seed
        self._kernels: dict[tuple[int, torch.device], Tensor] = {}  # not a buffer: drawn again instead of stored
        self._settled = False
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("square", torch.ones(width))
        self.register_buffer("batches", torch.tensor(0))

    def forward(self, features: Float[Tensor, "b k h w"], real: int = 0) -> Float[Tensor, "b width h w"]:
        mixed = F.conv2d(features, self._kernel(features))
        if self.training:
            self._watch(mixed.detach(), real)
        deviation = (self.square - self.mean**2).clamp_min(0).sqrt()
        scale = 1 / (deviation + 0.1 * deviation.mean()).clamp_min(1e-6)
        wide = (1, -1, 1, 1)
        return (mixed - self.mean.view(wide).to(mixed.dtype)) * scale.view(wide).to(mixed.dtype)

    def _kernel(self, features: Tensor) -> Tensor:
        channels, device = features.shape[1], features.device
        if (channels, device) not in self._kernels:
            generator = torch.Generator().manual_seed(self._seed)
            kernel = torch.randn(self._width, channels, 1, 1, generator=generator, device="cpu") / channels**0.5
            self._kernels[channels, device] = kernel.to(device)
        return self._kernels[channels, device]

    @torch.no_grad()
    def _watch(self, mixed: Float[Tensor, "b width h w"], real: int) -> None:
        """Until a batch with real images came, whatever comes serves in their place, and counts for nothing afterwards."""
        self._settled = self._settled or int(self.batches) >= self.BATCHES
        if self._settled:
            return
        seen = mixed[: real or None].float()
        share = 1 / (self.batches + 1) if real else (self.batches == 0).float()
        self.mean.lerp_(seen.mean((0, 2, 3)), share)
        self.square.lerp_(seen.square().mean((0, 2, 3)), share)
        self.batches += real > 0


def _head(width: int, strides: int) -> nn.Sequential:
    """Features `b width h w` -> logits `b 1 h2 w2`, halved `strides` times: all scales end in about as many places."""
    layers: list[nn.Module] = []
    for depth in range(2):
        stride = 2 if depth >= 2 - strides else 1
        layers += [spectral_norm(nn.Conv2d(width, width, 3, stride, 1)), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, spectral_norm(nn.Conv2d(width, 1, 1)))
