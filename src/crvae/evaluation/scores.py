"""`crvae.evaluate`: the scores of a model, from Python."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

from torch import nn

from crvae.data.images import PIXELS
from crvae.devices import best_device, kept_generators
from crvae.errors import UserError
from crvae.evaluation.evaluate import as_json, evaluate_subject, too_few
from crvae.evaluation.generated import Subject, open_subject
from crvae.evaluation.registry import Request, names
from crvae.evaluation.score import Score
from crvae.models.autoencoder import Autoencoder
from crvae.models.model import Model
from crvae.models.upsampler import Upsampler
from crvae.progress import progress
from crvae.storage.folders import WhichPrior


class Scores(Mapping[str, Score]):
    """The scores by name: `scores["kid"].value`, `.low` and `.high` of the 95% interval, `.unit`, `.better`, and provenance.

    A notebook shows them as a table.
    """

    def __init__(self, result: dict[str, Any]):
        self._result = result
        self._scores: dict[str, Score] = result["scores"]

    def __getitem__(self, name: str) -> Score:
        return self._scores[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._scores)

    def __len__(self) -> int:
        return len(self._scores)

    def json(self) -> dict[str, Any]:
        """What `crvae evaluate --json` prints."""
        return as_json(self._result)

    @property
    def not_looked_at(self) -> list[str]:
        """What else lies in a folder of images, by name."""
        return self._result["not_looked_at"]

    @property
    def left_out(self) -> str:
        """A sentence about the scores that were left out for want of images, or nothing."""
        return too_few(self._result["left_out"], self._result["images"])

    @property
    def caption(self) -> str:
        """What was compared with what, in one line."""
        about = self._result
        return (
            f"{about['run']} against {about['images']} {about['split']} images of {about['data']}, seed {about['seed']}"
        )

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """Score, value, 95% interval, unit and which direction is better, as text."""
        return [
            (score.name, f"{score.value:.5g}", f"{score.low:.5g} to {score.high:.5g}", score.unit, score.better)
            for score in self.values()
        ]

    def __repr__(self) -> str:
        return "\n".join([self.caption, *("  ".join(row) for row in self.rows())])

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in HEADINGS)
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in self.rows())
        return f"<table><caption>{escape(self.caption)}</caption><tr>{head}</tr>{body}</table>"


HEADINGS = ("score", "value", "95% interval", "unit", "better")
"""Of the rows of `Scores`."""


def evaluate(
    run: str | os.PathLike[str] | Model,
    data: str | os.PathLike[str],
    *,
    scores: str | Sequence[str] = (),
    features: str = "efficientnet-lite0",
    classifier: str | os.PathLike[str] = "",
    attribute: str = "",
    split: str = "",
    images: int = 0,
    seed: int = 0,
    prior: WhichPrior = "own",
    samples: int = 100,
    observation_variance: float = 0.0,
    pixel_limit: float = PIXELS / 1e6,
) -> Scores:
    """Scores a run, an exported folder, a loaded model or a folder of images against the prepared dataset at `data`.

    `scores`: names, as a list or separated by commas; by default all that the other options allow, without the slow ones and
    those that need more images, which are named on standard error.
    `images`: how many are compared; by default as many as the split has, at most 2,000. The other options are those of
    `crvae evaluate --help`, with an underscore for each hyphen. Shows a bar.

    Raises UserError if there is no model, no data, too few images, or an option is wrong.

    >>> scores = crvae.evaluate("runs/photos", "data/photos", scores=["kid", "reconstruction"])
    >>> scores["psnr"].value
    """
    request = Request(
        data=os.fspath(data),
        scores=names(scores) if isinstance(scores, str) else tuple(scores),
        features=features,
        classifier=os.fspath(classifier),
        attribute=attribute,
        split=split,
        images=images,
        seed=seed,
        prior=prior,
        samples=samples,
        observation_variance=observation_variance,
        pixel_limit=pixel_limit,
    )
    if isinstance(run, Autoencoder | Upsampler):
        if prior != "own":
            raise UserError(
                "prior is for a run that is loaded here. Load the model with crvae.load(run, prior='normal')"
            )
        subject = Subject(run.origin.name if run.origin else "this model", run)
    else:
        subject = open_subject(os.fspath(run), best_device(), prior, pixel_limit)
    with progress() as advance, _evaluating(subject.model):
        found = Scores(evaluate_subject(subject, request, advance))
    if found.left_out:
        print(found.left_out, file=sys.stderr)
    return found


@contextmanager
def _evaluating(model: nn.Module | None) -> Iterator[None]:
    """Within it, a model is in evaluation mode; afterwards its modules and torch's generators are in the states that they had."""
    modes = {} if model is None else {module: module.training for module in model.modules()}
    try:
        if model is not None:
            model.eval()
        with kept_generators():  # networks are made before their weights are read
            yield
    finally:
        for module, training in modes.items():
            module.training = training
