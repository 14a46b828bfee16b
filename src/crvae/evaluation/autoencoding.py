"""How well a Stage1 model keeps images: errors of its reconstructions, and what each time step of its latent carries."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from crvae.binarisation import binarised
from crvae.evaluation.distance import NAME, PerceptualDistance
from crvae.evaluation.features import spaced
from crvae.evaluation.generated import checked_size
from crvae.evaluation.registry import PERCEPTUAL, STAGE1, Evidence, Measure, score
from crvae.evaluation.score import Score, made_by
from crvae.intervals import mean
from crvae.models.autoencoder import Autoencoder
from crvae.models.gaussian import blocks
from crvae.pictures import from_8_bit, to_8_bit

BATCH = 64
"""Images encoded at once."""
EXACT = 10 * math.log10(12 * 255**2)
"""PSNR of an image that is kept to the last bit, in dB: 58.9, of an error as large as that of rounding to 8 bits."""

ACTIVE = 0.01
"""A unit is active where its posterior mean varies over images by more than this (Burda et al. 2016)."""


SQUARED, DECIBELS = Measure("lower", "squared, values in [-1, 1]"), Measure("higher", "dB")
DISTANCE, NATS = Measure("lower", "distance"), Measure("neither", "nats an image")
UNITS = Measure("neither", "units")
"""The score's own unit names how many there are."""


@score("reconstruction", needs=(STAGE1, PERCEPTUAL), gives={"mse": SQUARED, "psnr": DECIBELS, "lpips": DISTANCE})
def _reconstruction(evidence: Evidence) -> dict[str, Score]:
    """squared error, PSNR and LPIPS-style distance of reconstructions, of Stage1 runs"""
    model, stored = evidence.once(held_out)
    return reconstruction_scores(model, stored, evidence.request.seed, PerceptualDistance(model.device))


@score("kl", needs=(STAGE1,), gives={"kl": NATS, "active_units": UNITS})
def _kl(evidence: Evidence) -> dict[str, Score]:
    """KL divergence and active units, of Stage1 runs"""
    return latent_scores(*evidence.once(held_out), evidence.request.seed)


def held_out(evidence: Evidence) -> tuple[Autoencoder, UInt8[Tensor, "n c h w"]]:
    """The Stage1 model, and the held-out images that it is tested on: black and white ones for a Bernoulli decoder."""
    model = evidence.subject.autoencoder
    assert model is not None
    size = checked_size(evidence.split, model.image_shape[0], model.image_shape[1:])
    stored = evidence.split.images(spaced(len(evidence.split), evidence.count), size=size)
    if model.config.likelihood == "bernoulli":
        stored = to_8_bit(binarised(from_8_bit(stored), evidence.request.seed))
    return model, stored


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
    decibels = peak_signal_noise_ratio(*pairs, data_range=255.0, reduction="none", dim=(1, 2, 3)).clamp(max=EXACT)
    apart = distance(rebuilt, stored)
    about: dict[str, Any] = {"images": len(stored), "seed": seed}
    return {
        "mse": Score(
            name="reconstruction error", **SQUARED._asdict(), **mean(squared),
            **made_by("crvae"), **about,
        ),
        "psnr": Score(
            name="reconstruction PSNR", **DECIBELS._asdict(), **mean(decibels), **made_by("torchmetrics"), **about,
        ),
        "lpips": Score(
            name=f"reconstruction {NAME}", **DISTANCE._asdict(), **mean(apart), **distance.about, **about,
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
        kl.append(model.prior.kl(posterior, per_image=True, generator=generator).cpu().double())  # b t
        means.append(posterior.mean.cpu())
    per_step = torch.cat(kl)
    active = active_units(torch.cat(means), steps)
    about: dict[str, Any] = {"images": len(stored), "seed": seed, **made_by("crvae")}
    total = float(active.sum())
    return {
        "kl": Score(
            name="KL divergence", **NATS._asdict(), **mean(per_step.sum(1)), **about,
            details={"per_step": per_step.mean(0).tolist(), "prior": model.prior.kl_from or model.prior.title},
        ),
        "active_units": Score(
            name="active units", better=UNITS.better, unit=f"of {means[0][0].numel()}", value=total, low=total, high=total,
            interval="none: a count", details={"per_step": active.tolist(), "threshold": ACTIVE}, **about,
        ),
    }  # fmt: skip


def active_units(means: Float[Tensor, " n *d"], steps: int) -> Float[Tensor, " t"]:
    """Active units of each time step: those whose posterior mean has a variance over images above ACTIVE."""
    return (blocks(means, steps).double().var(0) > ACTIVE).sum(1)
