"""All scores of one run, or of one folder of images, against one dataset: features are extracted once and shared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from crvae.data import PreparedData, Split, open_data
from crvae.devices import best_device
from crvae.errors import UserError
from crvae.evaluation.autoencoding import latent_scores, reconstruction_scores
from crvae.evaluation.distance import PerceptualDistance
from crvae.evaluation.features import Extractor, feature_extractor, logit_extractor, spaced
from crvae.evaluation.generated import Subject, checked_size, open_subject
from crvae.evaluation.image_scores import LEAST, fid, inception_score, kid, precision_and_recall
from crvae.evaluation.likelihood import likelihood_scores, observation_variance
from crvae.evaluation.score import Score
from crvae.models.autoencoder import Autoencoder
from crvae.pictures import from_8_bit
from crvae.training.classifier import load_classifier

SCORES = ("kid", "fid", "is", "prdc", "reconstruction", "kl", "elbo", "nll")
"""What can be asked for. `prdc`: precision and recall; `reconstruction`: mse, psnr, lpips; `kl`: kl, active_units."""

STAGE1_ONLY = ("reconstruction", "kl", "elbo", "nll")
IMAGES = 2_000
"""Images compared where nothing is said, if the split has as many."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Request:
    """What is to be computed, and how."""

    data: str
    scores: tuple[str, ...] = ()
    """Of SCORES; none: all that need no more than RUN and data, without the likelihood."""
    features: str = "efficientnet-lite0"
    classifier: str = ""
    split: str = ""
    images: int = 0
    seed: int = 0
    samples: int = 100
    variance: float = 0.0


def evaluate(run: str, request: Request, progress: Progress = lambda *_: None) -> dict[str, Any]:
    """Scores `run`; returns what `crvae evaluate --json` prints, with the Scores themselves under `scores`.

    Raises UserError for whatever the user can mend: no model, no images, too few, of another size, an unknown score.
    """
    return evaluate_subject(open_subject(run, best_device()), request, progress)


def evaluate_subject(subject: Subject, request: Request, progress: Progress = lambda *_: None) -> dict[str, Any]:
    """The same for what is loaded already: a run that is still training may write other weights meanwhile."""
    prepared = open_data(request.data)
    split = prepared.split(request.split or _default_split(prepared))
    wanted = _wanted(request, subject)
    count = _count(request, split, wanted, subject)
    scores: dict[str, Score] = {}
    if {"kid", "fid", "prdc", "is"} & set(wanted):
        scores |= _image_scores(subject, split, wanted, count, request, best_device(), progress)
    model = subject.autoencoder
    if model is not None and set(STAGE1_ONLY) & set(wanted):
        scores |= _model_scores(model, split, wanted, count, request, progress)
    return {
        "run": subject.name,
        "data": request.data,
        "fingerprint": prepared.fingerprint,
        "split": split.name,
        "images": count,
        "seed": request.seed,
        "scores": scores,
    }


def as_json(result: dict[str, Any]) -> dict[str, Any]:
    """The result of `evaluate` as a JSON document."""
    return result | {"scores": {key: score.json() for key, score in result["scores"].items()}}


def _default_split(prepared: PreparedData) -> str:
    for name in ("test", "validation"):
        if name in prepared.card.splits:
            return name
    raise UserError(
        f"{prepared.path} has no test or validation split: name one with --split, or prepare the data again"
    )


def _wanted(request: Request, subject: Subject) -> tuple[str, ...]:
    for name in request.scores:
        if name not in SCORES:
            raise UserError(f"--scores: there is no score {name!r}, only {', '.join(SCORES)}")
        if name in STAGE1_ONLY and subject.autoencoder is None:
            raise UserError(f"--scores {name} needs a Stage1 run, and {subject.name} is none: leave it out")
    if "is" in request.scores and not request.classifier:
        raise UserError("--scores is needs --classifier: make one with `crvae classifier DATA --out CLASSIFIER`")
    if request.scores:
        return request.scores
    names = ["kid", "fid", "prdc"] + (["is"] if request.classifier else [])
    return (*names, "reconstruction", "kl") if subject.autoencoder is not None else tuple(names)


def _count(request: Request, split: Split, wanted: Sequence[str], subject: Subject) -> int:
    """How many images are compared: all scores use the same."""
    have = len(split) if subject.model is not None else min(len(split), len(subject.files))
    count = request.images or min(have, IMAGES)
    if count > len(split):
        raise UserError(f"--images {count}: the {split.name} split of {request.data} has only {len(split)} images")
    least = LEAST if {"kid", "fid", "prdc", "is"} & set(wanted) else 2
    if count < least:
        source = "--images asks for" if request.images else f"{subject.name} or {request.data} has"
        raise UserError(f"{source} {count} images, and these scores need at least {least}")
    return count


def _image_scores(
    subject: Subject,
    split: Split,
    wanted: Sequence[str],
    count: int,
    request: Request,
    device: torch.device,
    progress: Progress,
) -> dict[str, Score]:
    """Scores of generated images."""
    images = subject.images(count, request.seed)
    size = checked_size(split, images.shape[1], images.shape[2:])
    scores: dict[str, Score] = {}
    if {"kid", "fid", "prdc"} & set(wanted):
        extractor = feature_extractor(request.features, device)
        real, fake = extractor.of_real(split, size, count, progress), extractor(images, progress)
        about = _about(extractor)
        if "kid" in wanted:
            scores["kid"] = kid(real, fake, request.seed, **about)
        if "fid" in wanted:
            scores["fid"] = fid(real, fake, request.seed, **about)
        if "prdc" in wanted:
            scores |= precision_and_recall(real, fake, request.seed, **about)
    if "is" in wanted:
        classifier = load_classifier(request.classifier)
        config = classifier.config
        name = f"{config.backbone}, {config.method} on {config.column} of data {config.data[:8]}"
        extractor = logit_extractor(classifier, name, device)
        score = inception_score(extractor(images, progress), request.seed, **_about(extractor))
        real = inception_score(extractor.of_real(split, size, count, progress), request.seed, **_about(extractor))
        scores["is"] = replace(score, details={"of_real_images": real.value})
    return scores


def _model_scores(
    model: Autoencoder, split: Split, wanted: Sequence[str], count: int, request: Request, progress: Progress
) -> dict[str, Score]:
    """Scores of a Stage1 model on held-out images."""
    size = checked_size(split, model.image_shape[0], model.image_shape[1:])
    stored = split.images(spaced(len(split), count), size=size)
    scores: dict[str, Score] = {}
    if "reconstruction" in wanted:
        scores |= reconstruction_scores(model, stored, request.seed, PerceptualDistance(model.device))
    if "kl" in wanted:
        scores |= latent_scores(model, stored, request.seed)
    if "elbo" in wanted or "nll" in wanted:
        variance, source = _variance(model, split, size, request)
        found = likelihood_scores(
            model,
            from_8_bit(stored),
            samples=request.samples,
            seed=request.seed,
            variance=variance,
            variance_from=source,
            progress=progress,
        )
        scores |= {name: score for name, score in found.items() if name in wanted}
    return scores


def _variance(model: Autoencoder, split: Split, size: int, request: Request) -> tuple[float, str]:
    """The Gaussian decoder's variance and where it is from: --observation-variance, else the validation error."""
    if model.config.likelihood == "bernoulli":
        return 0.0, ""
    if request.variance:
        return request.variance, "--observation-variance"
    splits = split.data.card.splits
    chosen = split.data.split("validation" if "validation" in splits else split.name)
    count = min(len(chosen), IMAGES)
    x = from_8_bit(chosen.images(spaced(len(chosen), count), size=size))
    return observation_variance(model, x, request.seed), f"squared error on {count} images of {chosen.name}"


def _about(extractor: Extractor) -> dict[str, str]:
    return {"features": extractor.name, "features_sha256": extractor.sha256, "resizer": extractor.resizer}
