"""The registry of scores: each is one decorated function that tells its name, what it needs and what it gives.

    WIDTH = Measure("higher", "pixels")

    @score("width", needs=(GENERATED,), gives={"width": WIDTH})
    def _width(evidence: Evidence) -> dict[str, Score]:
        '''how wide the images are'''
        ...

`crvae evaluate`, its help, its checks, `crvae compare` and the report read SCORES.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, NamedTuple, TypeVar

import torch

from crvae.data import Split
from crvae.data.images import PIXELS, pixels
from crvae.errors import UserError
from crvae.evaluation.generated import Subject
from crvae.evaluation.score import Score
from crvae.intervals import GROUPS
from crvae.progress import Progress
from crvae.storage.folders import WhichPrior, check_prior

Made = TypeVar("Made")


@dataclass(frozen=True)
class Request:
    """What is to be computed, and how. Raises UserError if a number lies outside its limits."""

    data: str
    scores: tuple[str, ...] = ()
    """Of SCORES; none: all whose needs are met, without those that take long."""
    features: str = "efficientnet-lite0"
    classifier: str = ""
    attribute: str = ""
    split: str = ""
    images: int = 0
    seed: int = 0
    prior: WhichPrior = "own"
    """normal: N(0, I) in the place of a learned prior."""
    samples: int = 100
    observation_variance: float = 0.0
    pixel_limit: float = PIXELS / 1e6
    """Megapixels of an image of a folder, at most."""

    def __post_init__(self) -> None:
        for option, value, least, most in (
            ("--images", self.images, 0, 10**7),
            ("--seed", self.seed, 0, 2**32 - 2),
            ("--samples", self.samples, 1, 10_000),
        ):
            if not isinstance(value, Integral):
                raise UserError(f"{option} must be a whole number, got {value!r}")
            if not least <= value <= most:
                raise UserError(f"{option} must lie between {least} and {most}, got {value}")
        variance = self.observation_variance
        if not (isinstance(variance, Real) and math.isfinite(variance) and variance >= 0):
            raise UserError(f"--observation-variance must be positive, got {variance!r}")
        pixels(self.pixel_limit)
        check_prior(self.prior)


def names(scores: str) -> tuple[str, ...]:
    """`"kid, psnr"` -> `("kid", "psnr")`."""
    return tuple(name.strip() for name in scores.split(",") if name.strip())


@dataclass(frozen=True)
class Evidence:
    """What a score is computed from."""

    subject: Subject
    split: Split
    count: int
    """Images of either kind that all scores use."""
    request: Request
    device: torch.device
    progress: Progress
    _made: dict[Any, Any] = field(default_factory=dict)

    def once(self, make: Callable[[Evidence], Made]) -> Made:
        """What `make(self)` returns, made by the first score that asks for it and shared with the others."""
        if make not in self._made:
            self._made[make] = make(self)
        return self._made[make]


class Measure(NamedTuple):
    """How a number is to be read."""

    better: str
    """`higher`, `lower` or `neither`."""
    unit: str


class Need(NamedTuple):
    """Something that a score cannot do without."""

    lacking: Callable[[Request, Subject], str]
    """What is missing, as the end of `--scores NAME needs ...`; nothing where it is there."""
    least: int = 2
    """Images that it takes."""


GENERATED = Need(lambda request, subject: "", least=2 * GROUPS)
"""Images of the subject beside real ones."""

FEATURES = Need(lambda request, subject: "")
"""The network whose features --features names."""

PERCEPTUAL = Need(lambda request, subject: "")
"""The network of the LPIPS-style distance."""

CLASSIFIER = Need(
    lambda request, subject: (
        "" if request.classifier else "--classifier: make one with `crvae classifier DATA --out CLASSIFIER`"
    )
)

STAGE1 = Need(
    lambda request, subject: (
        "" if subject.autoencoder is not None else f"a Stage1 run, and {subject.name} is not one: leave it out"
    )
)

DENSITY = Need(
    lambda request, subject: (
        ""
        if subject.autoencoder is None or subject.autoencoder.prior.has_density
        else "a prior with a density, which a flow has not: pass --prior normal, or fit another to your"
        " own run: crvae prior RUN --prior.kind autoregressive"
    )
)


@dataclass(frozen=True)
class Kind:
    """A score as it is registered. `--scores name` computes all that it gives."""

    name: str
    says: str
    """What it is, from its function's docstring."""
    needs: tuple[Need, ...]
    gives: Mapping[str, Measure]
    """Key in the results -> how to read it."""
    long: bool
    """Takes long, and is computed only where it is asked for."""
    compute: Callable[[Evidence], dict[str, Score]]

    def lacking(self, request: Request, subject: Subject) -> str:
        """What is missing for it, in words, or nothing."""
        return next((missing for need in self.needs if (missing := need.lacking(request, subject))), "")

    @property
    def least(self) -> int:
        """Images that it takes."""
        return max(need.least for need in self.needs)


SCORES: dict[str, Kind] = {}
"""Score by the name that `--scores` takes."""


def in_order() -> list[Kind]:
    """All scores as they are computed and shown: of images, then of Stage1 models, then those that take long."""
    return sorted(SCORES.values(), key=lambda kind: (kind.long, STAGE1 in kind.needs))


def score(
    name: str, *, needs: Sequence[Need], gives: Mapping[str, Measure], long: bool = False
) -> Callable[[Callable[[Evidence], dict[str, Score]]], Callable[[Evidence], dict[str, Score]]]:
    """Registers a function of Evidence, whose docstring says what the score is, under `name`."""

    def register(compute: Callable[[Evidence], dict[str, Score]]) -> Callable[[Evidence], dict[str, Score]]:
        says = (compute.__doc__ or name).strip().split("\n")[0].rstrip(".")
        SCORES[name] = Kind(name, says, tuple(needs), dict(gives), long, compute)
        return compute

    return register
