"""Scores of generated images beside real ones, from features: KID, FID, precision and recall, inception score (4.1)."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crvae.evaluation.features import classified, compared
from crvae.evaluation.registry import CLASSIFIER, FEATURES, GENERATED, Evidence, Measure, score
from crvae.evaluation.score import Score, made_by
from crvae.intervals import Interval, jackknife, share, widened

BLOCK = 1000
"""KID compares disjoint blocks of at most so many images, and averages."""

NEIGHBOURS = 3
"""Precision and recall: an image is covered if it is nearer to a reference image than that image's neighbour of this rank."""

KID, FID = Measure("lower", "squared MMD"), Measure("lower", "squared distance")
SHARE = Measure("higher", "share of images")
INCEPTION = Measure("higher", "classes")
"""The score's own unit names how many classes there are."""


@score("kid", needs=(GENERATED, FEATURES), gives={"kid": KID})
def _kid(evidence: Evidence) -> dict[str, Score]:
    """kernel inception distance, of --features"""
    found = evidence.once(compared)
    return {"kid": kid(found.real, found.fake, evidence.request.seed, **found.about)}


@score("fid", needs=(GENERATED, FEATURES), gives={"fid": FID})
def _fid(evidence: Evidence) -> dict[str, Score]:
    """Fréchet inception distance, of --features"""
    found = evidence.once(compared)
    return {"fid": fid(found.real, found.fake, evidence.request.seed, **found.about)}


@score("prdc", needs=(GENERATED, FEATURES), gives={"precision": SHARE, "recall": SHARE})
def _prdc(evidence: Evidence) -> dict[str, Score]:
    """precision and recall, of --features"""
    found = evidence.once(compared)
    return precision_and_recall(found.real, found.fake, evidence.request.seed, **found.about)


@score("is", needs=(GENERATED, CLASSIFIER), gives={"is": INCEPTION})
def _is(evidence: Evidence) -> dict[str, Score]:
    """inception score, of --classifier"""
    found, seed = evidence.once(classified), evidence.request.seed
    real = inception_score(found.real, seed, **found.about)
    return {"is": replace(inception_score(found.fake, seed, **found.about), details={"of_real_images": real.value})}


def shuffled(features: Float[Tensor, "n k"], seed: int) -> Float[Tensor, "n k"]:
    """Rows in an order set by `seed`: what the scores below expect, so that blocks and groups are random ones."""
    return features[torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))]


def kid(real: Float[Tensor, "n k"], fake: Float[Tensor, "n k"], seed: int, **about: Any) -> Score:
    """Kernel inception distance: the unbiased squared MMD under the cubic kernel. As many real as generated images."""
    from torchmetrics.image.kid import poly_mmd

    def distance(real: Tensor, fake: Tensor) -> tuple[float]:
        blocks = -(-len(real) // BLOCK)
        pairs = zip(real.double().chunk(blocks), fake.double().chunk(blocks), strict=True)
        return (float(torch.stack([poly_mmd(a, b) for a, b in pairs]).mean()),)

    (interval,) = jackknife(distance, shuffled(real, seed), shuffled(fake, seed + 1))
    return Score(
        name=f"KID ({about['features']})",
        **KID._asdict(),
        images=len(fake),
        seed=seed,
        **interval,
        **made_by("torchmetrics"),
        **about,
    )


def fid(real: Float[Tensor, "n k"], fake: Float[Tensor, "n k"], seed: int, **about: Any) -> Score:
    """Fréchet inception distance: between Gaussians fitted to the features. Biased upwards by few images: compare equal counts."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    if len(real) + len(fake) < real.shape[1]:
        # few images: turned into the space that they span, which changes no distance
        basis = torch.linalg.qr(torch.cat([real, fake]).double().T).Q
        real, fake = real.double() @ basis, fake.double() @ basis
    metric = FrechetInceptionDistance(feature=_identity(real.shape[1]))

    def distance(real: Tensor, fake: Tensor) -> tuple[float]:
        metric.reset()
        metric.update(real.double(), real=True)
        metric.update(fake.double(), real=False)
        return (float(metric.compute()),)

    (interval,) = jackknife(distance, shuffled(real, seed), shuffled(fake, seed + 1))
    return Score(
        name=f"FID ({about['features']})",
        **FID._asdict(),
        images=len(fake),
        seed=seed,
        **interval,
        **made_by("torchmetrics"),
        **about,
    )


def precision_and_recall(
    real: Float[Tensor, "n k"], fake: Float[Tensor, "n k"], seed: int, **about: Any
) -> dict[str, Score]:
    """Share of generated images within the real ones' neighbourhoods, and of real ones within the generated ones'."""
    from torch_fidelity.metric_prc import calculate_precision_recall_full

    def shares(real: Tensor, fake: Tensor) -> tuple[float, float]:
        return calculate_precision_recall_full(fake, real, NEIGHBOURS)

    intervals = jackknife(shares, shuffled(real, seed), shuffled(fake, seed + 1))
    return {
        name: Score(
            name=f"{name} ({about['features']})",
            **SHARE._asdict(),
            images=len(fake),
            seed=seed,
            details={"neighbours": NEIGHBOURS},
            **_of_share(interval, of),
            **_torch_fidelity(),
            **about,
        )
        for name, interval, of in zip(("precision", "recall"), intervals, (len(fake), len(real)), strict=True)
    }


def _of_share(found: Interval, of: int) -> Interval:
    """The jackknife's interval of a share of `of` images, widened to hold Wilson's, within 0 and 1.

    The jackknife alone misses the truth near 0 and 1, and has no width at them; Wilson's alone is too narrow between them, since
    the images share their neighbours and are not independent.
    """
    wide = widened(found, share(round(found["value"] * of), of))
    return {**wide, "low": max(0.0, wide["low"]), "high": min(1.0, wide["high"])}


def inception_score(logits: Float[Tensor, "n k"], seed: int, **about: Any) -> Score:
    """exp of the mean KL divergence between p(class|image) and p(class), over all images at once (one split)."""
    from torchmetrics.image.inception import InceptionScore

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metric = InceptionScore(feature=nn.Identity(), splits=1)

    def score(logits: Tensor) -> tuple[float]:
        metric.reset()
        metric.update(logits.double())
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():  # it shuffles
            warnings.simplefilter("ignore")  # one split has no deviation
            return (float(metric.compute()[0]),)

    (interval,) = jackknife(score, shuffled(logits, seed))
    return Score(
        name=f"inception score ({about['features']})",
        better=INCEPTION.better,
        unit=f"of {logits.shape[1]} classes",
        images=len(logits),
        seed=seed,
        **interval,
        **made_by("torchmetrics"),
        **about,
    )


def _torch_fidelity() -> dict[str, Any]:
    import torch_fidelity

    return {"implementation": "torch-fidelity", "version": torch_fidelity.__version__}


def _identity(width: int) -> nn.Module:
    module = nn.Identity()
    module.num_features = width  # type: ignore[assignment]
    return module
