"""The Stage1 autoencoder: trunk, latent construction, decoder (sections 3.1 and 3.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crvae.config.prior import NormalPriorConfig
from crvae.config.stage1 import ModelConfig
from crvae.models import patch, trunk
from crvae.models.gaussian import DiagonalGaussian
from crvae.models.given import check_count, check_images, check_latents, check_truncation
from crvae.models.latent import construct
from crvae.models.layers import initialise
from crvae.models.origin import Origin, as_html
from crvae.models.prior import NormalPrior, Prior

SAMPLE_BATCH = 128
"""Images decoded at once by `sample`: its memory, not its result, depends on it."""


class Trunk(NamedTuple):
    """What surrounds the bottleneck: x `b c h w` -> features `b (8b) 4 4`, the way back, and both parts' initial weights."""

    encoder: Callable[[ModelConfig], nn.Module]
    decoder: Callable[[ModelConfig], nn.Module]
    initialise: Callable[[nn.Module], None]


TRUNKS = {
    "paper": Trunk(trunk.encoder, trunk.decoder, initialise),
    "patch": Trunk(patch.encoder, patch.decoder, patch.initialise),
}
"""Trunk by its name in the configuration."""


class Autoencoder(nn.Module):
    """VAE, cVAE or crVAE, as `config.latent` says. Images are `b c h w` in [-1, 1], also for Bernoulli models.

    Its `prior` is N(0, I) until a learned one takes its place.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        around = TRUNKS[config.trunk]
        self.encoder = around.encoder(config)
        self.latent = construct(config)
        self.decoder = around.decoder(config)
        for part, initial in (
            (self.encoder, around.initialise),
            (self.latent, initialise),
            (self.decoder, around.initialise),
        ):
            initial(part)  # type: ignore[arg-type]  # a construction is a module too, which no protocol can say
        self.prior: Prior = NormalPrior(NormalPriorConfig(), self.latent_shape, config.steps)
        self.origin: Origin | None = None
        """What it was loaded from."""

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of one image's z: (z, 4, 4), dense: (n,)."""
        return self.latent.shape

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape of one image: (c, h, w)."""
        return (self.config.channels, self.config.size, self.config.size)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def encode(self, x: Float[Tensor, "b c h w"]) -> DiagonalGaussian:
        """Images -> posterior q(z|x). Raises UserError if their shape, type or device is not the model's."""
        weight = next(self.parameters())
        check_images(x, self.image_shape, dtype=weight.dtype, device=weight.device)
        if self.config.likelihood == "bernoulli":
            x = (x + 1) / 2
        return self.latent.posterior(self.encoder(x))

    def transform(self, z: Float[Tensor, " b *d"]) -> Float[Tensor, " b *e"]:
        """z -> transformed latent u = LSTM_gen(z) (crVAE), FC_gen(z) (VAE) or z itself (cVAE)."""
        return self.latent.transform(z)

    def outputs(self, u: Float[Tensor, " b *e"]) -> Float[Tensor, "b c h w"]:
        """u -> what the objective compares: images in [-1, 1] (Gaussian), or logits of the pixels (Bernoulli)."""
        raw = self.decoder(self.latent.project(u))
        return raw if self.config.likelihood == "bernoulli" else torch.tanh(raw)

    def decode(self, z: Float[Tensor, " b *d"], steps: int | None = None) -> Float[Tensor, "b c h w"]:
        """z -> images. With `steps` t, only the first t blocks are used, the rest are at the prior's mean.

        Raises UserError if the shape, type or device of z is not the model's, or t is not from 0 to T.
        """
        weight = next(self.parameters())
        check_latents(z, self.latent_shape, dtype=weight.dtype, device=weight.device)
        if steps is not None:
            z = self.prior.mean_fill(z, steps)
        outputs = self.outputs(self.transform(z)).float()
        return 2 * torch.sigmoid(outputs) - 1 if self.config.likelihood == "bernoulli" else outputs

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self.decode(self.encode(x).sample())

    @torch.no_grad()
    def reconstruct(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Images decoded from their posterior's mean. Raises UserError as `encode`."""
        return self.decode(self.encode(x).mean)

    @torch.no_grad()
    def sample(self, count: int, seed: int = 0, truncation: float = 1.0) -> Float[Tensor, "b c h w"]:
        """`count` images from the prior. The same seed gives the same images, and the first of them whatever `count`, but for rounding.

        `truncation` scales z about the prior's mean: below 1 gives more usual, less varied images. Raises UserError if `count`
        is not a whole number of 1 or more, the seed not one of 64 bits, or `truncation` not a finite number.
        """
        check_count(count)
        check_truncation(truncation)
        z, mean = self.prior.sample(count, seed), self.prior.mean
        z = mean + truncation * (z - mean)
        return torch.cat([self.decode(part) for part in z.split(SAMPLE_BATCH)])

    def _repr_html_(self) -> str:
        config, channels = self.config, {1: "grey", 3: "colour"}
        latent = f"{config.latent}, {' x '.join(map(str, self.latent_shape))}"
        facts = {
            "images": f"{config.size} x {config.size}, {channels[config.channels]}",
            "latent": f"{latent}, {config.steps} time steps" if config.latent == "recurrent" else latent,
        }
        return as_html(self, "Autoencoder", facts)
