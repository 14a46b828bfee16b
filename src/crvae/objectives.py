"""The objectives: pure functions, one per equation; none knows a network or an optimiser.

Reductions, everywhere: squared and Bernoulli errors are means over all values (the release's scale),
KL is nats an image summed over the latent and averaged over images, adversarial terms are means over images, and over the
map where a discriminator gives an image many logits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from crvae.models.gaussian import blocks


def gaussian_error(x_hat: Float[Tensor, "b c h w"], x: Float[Tensor, "b c h w"]) -> Float[Tensor, ""]:
    """-log p(x|z) of a Gaussian decoder up to scale and constant: the mean squared error, images in [-1, 1]."""
    return F.mse_loss(x_hat, x)


def bernoulli_error(logits: Float[Tensor, "b c h w"], x: Float[Tensor, "b c h w"]) -> Float[Tensor, ""]:
    """-log p(x|z) of a Bernoulli decoder in nats a pixel value; x in [-1, 1] stands for probabilities (x + 1) / 2."""
    return F.binary_cross_entropy_with_logits(logits, (x + 1) / 2)


def weighted_kl(kl_per_step: Float[Tensor, " t"], weights: Float[Tensor, " t"]) -> Float[Tensor, ""]:
    """Equation 1: sum over t of w_t KL(q(z_t|x) || p(z_t)); the paper's 1 - alpha_t is w_t up to a common factor."""
    return (weights * kl_per_step).sum()


def fool(realism: Float[Tensor, "b ..."]) -> Float[Tensor, ""]:
    """What the generating side minimises (3.3.1): -E[log D(x~)], not saturating, from logits."""
    return F.softplus(-realism).mean()


def recognise_real(realism: Float[Tensor, "b ..."]) -> Float[Tensor, ""]:
    """What the discriminator minimises on real images (3.3.1): -E[log D(x)], from logits."""
    return F.softplus(-realism).mean()


def recognise_fake(realism: Float[Tensor, "b ..."]) -> Float[Tensor, ""]:
    """What the discriminator minimises on reconstructions or samples (3.3.1): -E[log(1 - D(x~))], from logits."""
    return F.softplus(realism).mean()


def fool_critic(realism: Float[Tensor, "b ..."]) -> Float[Tensor, ""]:
    """What the generating side minimises against a hinge: -E[f(x~)] (Lim and Ye 2017)."""
    return -realism.mean()


def recognise_real_by_hinge(realism: Float[Tensor, "b ..."]) -> Float[Tensor, ""]:
    """What the discriminator minimises on real images: E[max(0, 1 - f(x))] (Lim and Ye 2017)."""
    return F.relu(1 - realism).mean()


def recognise_fake_by_hinge(realism: Float[Tensor, "b ..."]) -> Float[Tensor, ""]:
    """What the discriminator minimises on reconstructions or samples: E[max(0, 1 + f(x~))] (Lim and Ye 2017)."""
    return F.relu(1 + realism).mean()


class Game(NamedTuple):
    """The terms of one adversarial objective: the generating side's, and the discriminator's on both kinds of images."""

    fool: Callable[[Tensor], Tensor]
    recognise_real: Callable[[Tensor], Tensor]
    recognise_fake: Callable[[Tensor], Tensor]

    def tell_apart(self, real: Tensor, *fakes: Tensor) -> Float[Tensor, ""]:
        """What the discriminator minimises, from logits: all kinds of fakes weigh as much as the real images together."""
        return self.recognise_real(real) + sum(map(self.recognise_fake, fakes)) / len(fakes)


GAMES = {
    "softplus": Game(fool, recognise_real, recognise_fake),
    "hinge": Game(fool_critic, recognise_real_by_hinge, recognise_fake_by_hinge),
}
"""Adversarial objective by name; the paper's is softplus."""


def error_rate(real: Float[Tensor, "b ..."], *fakes: Float[Tensor, "_ ..."]) -> Float[Tensor, ""]:
    """Share of logits on the wrong side of 0, weighted as the discriminator's loss weighs the kinds of images; 0.5 is a guess."""
    wrong = torch.stack([(fake > 0).float().mean() for fake in fakes]).sum() / len(fakes)
    return 0.5 * (real < 0).float().mean() + 0.5 * wrong


def recover(
    estimate: Float[Tensor, " b *d"], target: Float[Tensor, " b *d"], weights: Float[Tensor, " t"]
) -> Float[Tensor, ""]:
    """Equation 2 with a Gaussian q_psi of fixed variance: the squared error of the estimated latent, a mean over values.

    `weights` multiply the T blocks. The target is a constant: callers pass it detached.
    """
    squared = blocks((estimate - target) ** 2, len(weights))  # b t k
    return (weights[:, None] * squared).mean()


def explained(estimate: Float[Tensor, " b *d"], target: Float[Tensor, " b *d"]) -> Float[Tensor, ""]:
    """Share of the latent's variance over images that its estimate explains, 1 - MSE / Var; 1 is perfect, 0 is chance."""
    variance = target.var(0, unbiased=False).mean()
    return 1 - F.mse_loss(estimate, target) / variance.clamp_min(torch.finfo(target.dtype).tiny)


def normalised(latent: Float[Tensor, " b *d"]) -> Float[Tensor, " b *d"]:
    """The latent with zero mean and unit variance over the batch, value by value."""
    mean, std = latent.mean(0, keepdim=True), latent.std(0, unbiased=False, keepdim=True)
    return (latent - mean) / (std + 1e-5)


def perceptual(
    features: Sequence[Float[Tensor, "b _ _ _"]], targets: Sequence[Float[Tensor, "b _ _ _"]]
) -> Float[Tensor, ""]:
    """Perceptual loss (section 4.3; Johnson et al. 2016) over the layers of a network, as a share of the targets' energy.

    The mean over layers of |phi(x_hat) - phi(x)|^2 / |phi(x)|^2: 0 is equal, 1 is as far off as no features at all, for
    every network, so that its weight means the same with each.
    """
    return torch.stack([_energy(f - t) / _energy(t) for f, t in zip(features, targets, strict=True)]).mean()


def _energy(x: Tensor) -> Float[Tensor, ""]:
    """The mean square, in fp32; of bf16 features without a copy in fp32, which would take a fifth of a training step."""
    if x.dtype == torch.float32:
        return x.square().mean()
    return torch.linalg.vector_norm(x, dtype=torch.float32).square() / x.numel()
