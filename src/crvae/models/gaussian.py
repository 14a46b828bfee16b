"""The diagonal Gaussian: posterior of every latent construction, and the standard one, which is the paper's prior."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from crvae.models.given import check_steps

LOG_2_PI = math.log(2 * math.pi)


def blocks(z: Float[Tensor, " b *d"], steps: int) -> Float[Tensor, "b t k"]:
    """Latents as `steps` blocks of consecutive channels, each flattened: `b (t c) h w -> b t (c h w)`."""
    return z.flatten(1).unflatten(1, (steps, -1))


@dataclass(frozen=True)
class DiagonalGaussian:
    """q(z|x) = N(mean, exp(log_variance)), over latents `b z 4 4` (dense: `b n`) that fall into `steps` blocks."""

    mean: Float[Tensor, " b *d"]
    log_variance: Float[Tensor, " b *d"]
    steps: int = 1

    def sample(self, generator: torch.Generator | None = None) -> Float[Tensor, " b *d"]:
        """One reparametrised draw per image; the gradient reaches mean and log-variance."""
        noise = torch.empty_like(self.mean).normal_(generator=generator)
        return self.mean + torch.exp(0.5 * self.log_variance) * noise

    def truncate(self, t: int) -> DiagonalGaussian:
        """What the first t = 0..T blocks say of each image: the blocks after them are N(0, I), at no KL divergence from it.

        `model.decode(posterior.truncate(t).mean, steps=t)` is the anytime reconstruction. Raises UserError for another t.
        """
        check_steps(t, self.steps)
        kept = torch.arange(self.steps, device=self.mean.device)[:, None] < t
        parts = (torch.where(kept, blocks(part, self.steps), 0.0) for part in (self.mean, self.log_variance))
        mean, log_variance = (part.view(self.mean.shape) for part in parts)
        return DiagonalGaussian(mean, log_variance, self.steps)

    def log_prob(self, z: Float[Tensor, " b *d"]) -> Float[Tensor, " b"]:
        """Log-density of z, in nats an image, constants included."""
        squared = (z - self.mean) ** 2 * torch.exp(-self.log_variance)
        return -0.5 * (squared + self.log_variance + LOG_2_PI).flatten(1).sum(1)

    def kl(self, per_step: bool = False, per_image: bool = False) -> Float[Tensor, ...]:
        """KL(q(z|x) || N(0, I)) in nats an image: the sum over the latent, averaged over images.

        `per_step` keeps the blocks apart (`t`), `per_image` the images (`b`, or `b t`). Equation 1 weights `per_step`.
        """
        values = 0.5 * (self.mean**2 + self.log_variance.exp() - self.log_variance - 1)
        kl = blocks(values, self.steps).sum(2)  # b t
        kl = kl if per_step else kl.sum(1)
        return kl if per_image else kl.mean(0)


def standard_draws(shape: tuple[int, ...], count: int, generator: torch.Generator) -> Float[Tensor, " b *d"]:
    """`count` draws from N(0, I) of one image's `shape` each; one by one, so that the first are the same whatever `count`."""
    return torch.stack([torch.randn(shape, generator=generator, dtype=torch.float32) for _ in range(count)])


def standard_log_prob(z: Float[Tensor, " b *d"]) -> Float[Tensor, " b"]:
    """Log-density of z under N(0, I), in nats an image, constants included."""
    return -0.5 * (z**2 + LOG_2_PI).flatten(1).sum(1)
