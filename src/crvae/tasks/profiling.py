"""What each time step carries, measured: the paper's section 4.5 looks at it only."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from crvae.errors import UserError
from crvae.intervals import mean
from crvae.models.autoencoder import SAMPLE_BATCH
from crvae.models.gaussian import DiagonalGaussian
from crvae.models.model import Model, steps_of
from crvae.pictures import to_8_bit
from crvae.progress import Progress, silent
from crvae.tasks.traversal import decode_all

Distance = Callable[[Tensor, Tensor], Tensor]
"""8-bit images `b c h w`, 8-bit images `b c h w` -> distances `b`."""
Classify = Callable[[Tensor], Tensor]
"""Images `b c h w` -> class numbers `b`."""
TINY = 1e-12


@torch.no_grad()
def profile(
    model: Model,
    x: Float[Tensor, "b c h w"],
    seed: int = 0,
    distance: Distance | None = None,
    classify: Classify | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """For each time step t (dense and convolutional models: each of T arbitrary groups of channels), as lists over t:

    `kl`: KL(q(z_t|x) || p(z_t)) in nats an image. `resampled`: what changes in as many samples as there are images when z_t
    alone is drawn anew given the others, namely `change` (mean squared, images in [-1, 1]), its part in each of `bands`,
    `perceptual` distance and `label` (share of images whose class changes), each a list of {"mean", "low", "high"} with a
    95% interval over images. `first_blocks`: posterior means decoded from the first t = 0..T blocks alone: `rate` (nats an
    image spent so far), `error` (mean squared), `share` (of the error that all blocks remove), and `unexplained`, for each band
    the error relative to that of showing the mean image always: 1 is no better than that, 0 is perfect; None where all images agree.
    Raises UserError for fewer than two images.
    """
    check_several(x)
    count, steps = len(x), steps_of(model)
    edges = band_edges(x.shape[-1])
    z = model.prior.sample(count, seed)
    before = decode_all(model, z)
    resampled: dict[str, list[Any]] = {"change": [], "bands": [], "perceptual": [], "label": []}
    for t in range(1, steps + 1):
        progress("profiling", t - 1, 2 * steps)
        after = decode_all(model, model.prior.redraw(z, t, seed + 1))
        resampled["change"].append(interval((after - before).square().flatten(1).mean(1)))
        resampled["bands"].append([interval(part) for part in band_energy(after - before, edges).T])
        if distance is not None:
            resampled["perceptual"].append(interval(distance(to_8_bit(before), to_8_bit(after))))
        if classify is not None:
            resampled["label"].append(interval((classify(before) != classify(after)).float()))
    posterior = posterior_of(model, x)
    kl = model.prior.kl(posterior, generator=torch.Generator(model.device).manual_seed(seed))
    errors, by_band = [], []
    for t in range(steps + 1):
        progress("profiling", steps + t, 2 * steps)
        difference = decode_all(model, posterior.mean, t) - x
        errors.append(difference.square().mean().item())
        by_band.append(band_energy(difference, edges).mean(0))
    constant = band_energy(x - x.mean(0), edges).mean(0)  # error of the mean image
    total = torch.tensor(errors[0]) - torch.tensor(errors)
    return {
        "steps": steps,
        "images": count,
        "seed": seed,
        "bands": [f"{low}-{high} cycles/image" for low, high in itertools.pairwise(edges)],
        "kl": kl.tolist(),
        "resampled": {name: values for name, values in resampled.items() if values},
        "first_blocks": {
            "rate": [0.0, *kl.cumsum(0).tolist()],
            "error": errors,
            "share": (total / total[-1] if total[-1].abs() > TINY else total * 0).tolist(),
            "unexplained": [_relative(band, constant) for band in by_band],
        },
    }


@torch.no_grad()
def posterior_of(model: Model, x: Float[Tensor, "b c h w"]) -> DiagonalGaussian:
    """`model.encode`, a batch at a time."""
    parts = [model.encode(part.to(model.device)) for part in x.split(SAMPLE_BATCH)]
    mean, log_variance = (torch.cat([getattr(part, name) for part in parts]) for name in ("mean", "log_variance"))
    return DiagonalGaussian(mean, log_variance, parts[0].steps)


def band_edges(size: int) -> list[int]:
    """Octaves of frequency, in cycles an image: 0, 2, 4, ... up to half the size."""
    return [0, *(2**power for power in range(1, int(math.log2(size / 2)) + 1))]


def band_energy(difference: Float[Tensor, "b c h w"], edges: list[int]) -> Float[Tensor, "b bands"]:
    """The mean square of each difference, split by spatial frequency; the bands add up to it (Parseval).

    A band takes frequencies from its lower edge up to its upper one, the last also those in the corners beyond.
    """
    size = difference.shape[-1]
    power = torch.fft.fft2(difference, norm="forward").abs().square().mean(1)  # b h w
    frequency = torch.fft.fftfreq(size, 1 / size, device=difference.device)
    radius = (frequency[:, None].square() + frequency.square()).sqrt()
    band = torch.bucketize(radius, torch.tensor(edges[1:-1], device=difference.device), right=True)
    return torch.stack([(power * (band == index)).sum((1, 2)) for index in range(len(edges) - 1)], 1)


def interval(values: Float[Tensor, " b"]) -> dict[str, float]:
    """Mean over images with its 95% interval."""
    found = mean(values)
    return {"mean": found["value"], "low": found["low"], "high": found["high"]}


def check_several(x: Float[Tensor, "b c h w"]) -> None:
    """Raises UserError unless there are two images or more: one has no interval."""
    if len(x) < 2:
        raise UserError(f"intervals over images need two or more, got {len(x)}")


def _relative(errors: Float[Tensor, " bands"], to: Float[Tensor, " bands"]) -> list[float | None]:
    """Each band's error relative to another; None where that is none."""
    return [value if there else None for value, there in zip((errors / to).tolist(), (to > TINY).tolist(), strict=True)]
