"""What a model says of images it has not seen: the evidence lower bound and its importance-weighted sharpening (IWAE).

Log-densities are complete, constants included, and nothing is clamped: Bernoulli densities come from logits.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from crvae.binarisation import binarised
from crvae.evaluation.autoencoding import held_out
from crvae.evaluation.features import spaced
from crvae.evaluation.registry import DENSITY, STAGE1, Evidence, Measure, score
from crvae.evaluation.score import Score, made_by
from crvae.intervals import mean
from crvae.models.autoencoder import Autoencoder
from crvae.models.gaussian import LOG_2_PI, DiagonalGaussian
from crvae.models.prior import Prior
from crvae.pictures import from_8_bit
from crvae.progress import Progress, silent

PASS = 256
"""Latents decoded at once: memory depends on this, not on the number of samples."""

IMAGES = 32
"""Images encoded at once. With PASS it sets the order of random draws, and so is fixed."""


VARIANCE_IMAGES = 2_000
"""At most so many validation images say what a Gaussian decoder's variance is."""

ELBO, NLL = Measure("higher", "nats an image"), Measure("lower", "nats an image")


@score("elbo", needs=(STAGE1, DENSITY), gives={"elbo": ELBO}, long=True)
def _elbo(evidence: Evidence) -> dict[str, Score]:
    """evidence lower bound, of Stage1 runs"""
    return {"elbo": evidence.once(both)["elbo"]}


@score("nll", needs=(STAGE1, DENSITY), gives={"nll": NLL}, long=True)
def _nll(evidence: Evidence) -> dict[str, Score]:
    """negative log-likelihood by importance sampling, of Stage1 runs"""
    return {"nll": evidence.once(both)["nll"]}


def both(evidence: Evidence) -> dict[str, Score]:
    """`elbo` and `nll`, from the same draws."""
    (model, stored), request = evidence.once(held_out), evidence.request
    variance, source = _variance(model, evidence)
    return likelihood_scores(
        model,
        from_8_bit(stored),
        samples=request.samples,
        seed=request.seed,
        variance=variance,
        variance_from=source,
        progress=evidence.progress,
    )


def _variance(model: Autoencoder, evidence: Evidence) -> tuple[float, str]:
    """The Gaussian decoder's variance and where it is from: --observation-variance, else the validation error."""
    request, split = evidence.request, evidence.split
    if model.config.likelihood == "bernoulli":
        return 0.0, ""
    if request.observation_variance:
        return request.observation_variance, "--observation-variance"
    splits = split.data.card.splits
    chosen = split.data.split("validation" if "validation" in splits else split.name)
    count = min(len(chosen), VARIANCE_IMAGES)
    x = from_8_bit(chosen.images(spaced(len(chosen), count), size=model.image_shape[1]))
    return observation_variance(model, x, request.seed), f"squared error on {count} images of {chosen.name}"


class Likely(Protocol):
    """What has a likelihood: a posterior, a prior, and the log-density of images given latents, in nats an image."""

    prior: Prior

    def encode(self, x: Tensor) -> DiagonalGaussian: ...

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor: ...


class BernoulliDecoder:
    """p(x|z) of a Bernoulli model. Images are -1 or 1."""

    def __init__(self, model: Autoencoder):
        self.model = model
        self.encode = model.encode
        self.prior = model.prior

    def log_likelihood(self, x: Float[Tensor, "b c h w"], z: Float[Tensor, " b *d"]) -> Float[Tensor, " b"]:
        logits = self.model.outputs(self.model.transform(z)).double()
        return -F.binary_cross_entropy_with_logits(logits, ((x + 1) / 2).double(), reduction="none").flatten(1).sum(1)


class GaussianDecoder:
    """p(x|z) = N(decoded image, `variance`), a density over values in [-1, 1]."""

    def __init__(self, model: Autoencoder, variance: float):
        self.model = model
        self.encode = model.encode
        self.prior = model.prior
        self.variance = variance

    def log_likelihood(self, x: Float[Tensor, "b c h w"], z: Float[Tensor, " b *d"]) -> Float[Tensor, " b"]:
        squared = (self.model.decode(z).double() - x.double()).square().flatten(1)
        constant = squared.shape[1] * (LOG_2_PI + math.log(self.variance))
        return -0.5 * (squared.sum(1) / self.variance + constant)


@torch.no_grad()
def bounds(
    model: Likely, x: Float[Tensor, "b ..."], samples: int, generator: torch.Generator
) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """(ELBO, IWAE) of each image in nats, from the same `samples` draws of its posterior.

    ELBO = mean_s log p(x|z_s) - KL(q||p), the KL exact where the prior has it, else from the same draws.
    IWAE_S = log mean_s p(x|z_s) p(z_s) / q(z_s|x), which rises with S, in expectation, towards log p(x) (Burda et al. 2016).
    Decodes at most max(PASS, b) latents at once. Raises UserError if the prior has no density.
    """
    posterior = model.encode(x)
    prior = model.prior
    elbo = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    evidence = torch.full_like(elbo, -math.inf)
    left = samples
    while left:
        count = min(left, max(1, PASS // len(x)))
        left -= count
        wide = DiagonalGaussian(
            posterior.mean.repeat_interleave(count, 0),
            posterior.log_variance.repeat_interleave(count, 0),
            posterior.steps,
        )
        z = wide.sample(generator)
        log_p = model.log_likelihood(x.repeat_interleave(count, 0), z).double()
        exact = DiagonalGaussian(wide.mean.double(), wide.log_variance.double())
        log_weight = log_p + prior.log_prob(z.double()) - exact.log_prob(z.double())
        gain = log_p if prior.kl_is_exact else log_weight
        elbo += gain.unflatten(0, (-1, count)).sum(1) / samples
        evidence = torch.logaddexp(evidence, log_weight.unflatten(0, (-1, count)).logsumexp(1))
    if prior.kl_is_exact:
        exact = DiagonalGaussian(posterior.mean.double(), posterior.log_variance.double())
        elbo -= prior.kl(exact, per_image=True).sum(1)
    return elbo, evidence - math.log(samples)


@torch.no_grad()
def observation_variance(model: Autoencoder, x: Float[Tensor, "n c h w"], seed: int) -> float:
    """The variance that suits a Gaussian decoder best: the mean squared error of images decoded from posterior draws."""
    generator = torch.Generator(model.device).manual_seed(seed)
    total = 0.0
    for part in x.split(IMAGES):
        part = part.to(model.device)
        total += float((model.decode(model.encode(part).sample(generator)) - part).double().square().sum())
    return total / x.numel()


def likelihood_scores(
    model: Autoencoder,
    x: Float[Tensor, "n c h w"],
    *,
    samples: int,
    seed: int,
    variance: float = 0.0,
    variance_from: str = "",
    progress: Progress = silent,
) -> dict[str, Score]:
    """ELBO and negative log-likelihood (IWAE with `samples`) of images in [-1, 1], in nats an image.

    Bernoulli models see the images binarised by one draw with `seed`; Gaussian ones need `variance`, and where it is from.
    """
    about: dict[str, Any] = {"samples": samples}
    if model.config.likelihood == "bernoulli":
        decoder: Likely = BernoulliDecoder(model)
        x = binarised(x, seed)
        about["binarisation"] = f"one Bernoulli draw a pixel, seed {seed}"
    else:
        decoder = GaussianDecoder(model, variance)
        about |= {"observation_variance": variance, "observation_variance_from": variance_from}
    generator = torch.Generator(model.device).manual_seed(seed)
    parts = []
    for part in x.split(IMAGES):
        parts.append(bounds(decoder, part.to(model.device), samples, generator))
        progress(f"likelihood, {samples} samples", sum(len(elbo) for elbo, _ in parts), len(x))
    elbo, iwae = (torch.cat(bound).cpu() for bound in zip(*parts, strict=True))
    common: dict[str, Any] = {"images": len(x), "seed": seed, **made_by("crvae")}
    return {
        "elbo": Score(name="evidence lower bound", **ELBO._asdict(), **mean(elbo), **common, details=about),
        "nll": Score(
            name=f"negative log-likelihood (IWAE-{samples})", **NLL._asdict(), **mean(-iwae), **common, details=about
        ),
    }
