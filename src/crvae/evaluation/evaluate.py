"""All scores of one run, or of one folder of images, against one dataset: features are extracted once and shared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from crvae.counting import counted
from crvae.data import PreparedData, Split, open_data
from crvae.devices import best_device
from crvae.errors import UserError, near
from crvae.evaluation import autoencoding, image_scores, likelihood
from crvae.evaluation.generated import Subject, check_fits, open_subject
from crvae.evaluation.registry import CLASSIFIER, FEATURES, SCORES, STAGE1, Evidence, Kind, Request, in_order
from crvae.evaluation.score import Score
from crvae.extras import require
from crvae.models.prior import NormalPrior
from crvae.progress import Progress, silent

REGISTERED = (image_scores, autoencoding, likelihood)
"""The modules whose import registers the package's own scores."""

IMAGES = 2_000
"""Images compared where nothing is said, if the split has as many."""


BESIDE = (FEATURES, CLASSIFIER, STAGE1)
"""Needs of the scores that look at images of the data beside the subject's: these must be of one size."""


class Asked(NamedTuple):
    """What is scored."""

    split: Split
    wanted: list[list[Kind]]
    """The scores of each subject."""
    count: int
    """Images on which all are scored: as many as the smallest has."""
    left_out: list[str]
    """Scores that would be computed were there more images."""


def evaluate(run: str, request: Request, progress: Progress = silent) -> dict[str, Any]:
    """Scores `run`; returns what `crvae evaluate --json` prints, with the Scores themselves under `scores`.

    Raises UserError if there is no model, too few images or images of another size, or an unknown score.
    """
    return evaluate_subject(open_subject(run, best_device(), request.prior, request.pixel_limit), request, progress)


def evaluate_subject(subject: Subject, request: Request, progress: Progress = silent) -> dict[str, Any]:
    """The same for what is loaded already: a run that is still training may write other weights meanwhile."""
    split, (wanted,), count, left_out = asked([subject], request)
    evidence = Evidence(subject, split, count, request, best_device(), progress)
    scores: dict[str, Score] = {}
    for kind in wanted:
        scores |= kind.compute(evidence)
    return {
        "run": subject.name,
        "data": request.data,
        "fingerprint": split.data.fingerprint,
        "split": split.name,
        "images": count,
        "size": subject.shape[1],
        "not_looked_at": list(subject.beside),
        "left_out": left_out,
        "seed": request.seed,
        "prior": _prior(subject, request),
        "scores": scores,
    }


def asked(subjects: Sequence[Subject], request: Request) -> Asked:
    """On what the subjects are scored, and by what. Raises UserError, before anything long, if one cannot be scored."""
    require("a score", "torchmetrics", "torch_fidelity", "scipy")
    prepared = open_data(request.data)
    split = prepared.split(request.split or _default_split(prepared))
    wanted = [_wanted(request, subject) for subject in subjects]
    count = _count(request, split, wanted, subjects)
    enough = [[kind for kind in kinds if kind.least <= count] for kinds in wanted]
    for subject, kinds in zip(subjects, enough, strict=True):
        if any(need in BESIDE for kind in kinds for need in kind.needs):
            check_fits(split, subject)
    few = dict.fromkeys(kind.name for kinds in wanted for kind in kinds if kind.least > count)
    return Asked(split, enough, count, list(few))


def too_few(left_out: Sequence[str], count: int) -> str:
    """A sentence about the scores that were left out for want of images; nothing if there are none."""
    listed = ", ".join(f"{name} (needs {SCORES[name].least})" for name in left_out)
    return f"left out, as there are only {counted(count, 'image')}: {listed}" if listed else ""


def _prior(subject: Subject, request: Request) -> str:
    """own, or normal where N(0, I) stands in the place of the model's, also if it was loaded so."""
    prior = getattr(subject.model, "prior", None)
    return "normal" if isinstance(prior, NormalPrior) and prior.stands_in else request.prior


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


def _wanted(request: Request, subject: Subject) -> list[Kind]:
    """The scores that are asked for, in the registry's order."""
    for name in request.scores:
        if name not in SCORES:
            known = [kind.name for kind in in_order()]
            raise UserError(f"--scores: there is no score {name!r}{near(name, known)}, only {', '.join(known)}")
        if lacking := SCORES[name].lacking(request, subject):
            raise UserError(f"--scores {name} needs {lacking}")
    if request.scores:
        return [kind for kind in in_order() if kind.name in request.scores]
    return [kind for kind in in_order() if not kind.long and not kind.lacking(request, subject)]


def _count(request: Request, split: Split, wanted: Sequence[Sequence[Kind]], subjects: Sequence[Subject]) -> int:
    """How many images are compared: all scores of all subjects use the same. `wanted`: the scores of each subject.

    Raises UserError if they are too few for a score that is asked for by name, or for every score of a subject.
    """
    counts = [len(split) if subject.model is not None else min(len(split), len(subject.files)) for subject in subjects]
    have = min(counts)
    count = request.images or min(have, IMAGES)
    smallest = f"the {split.name} split of {request.data}" if have == len(split) else subjects[counts.index(have)].name
    if count > have:
        raise UserError(f"--images {count}: {smallest} has only {counted(have, 'image')}")
    if request.scores:
        worst, advice = (
            max((kind for kinds in wanted for kind in kinds), key=_least),
            "leave it out of --scores, or give more",
        )
    else:
        worst, advice = max((min(kinds, key=_least) for kinds in wanted), key=_least), "give more"
    if count < worst.least:
        source = "--images asks for" if request.images else f"{smallest} has"
        raise UserError(f"{source} {counted(count, 'image')}, and {worst.name} needs at least {worst.least}: {advice}")
    return count


def _least(kind: Kind) -> int:
    return kind.least
