"""`crvae evaluate RUN --data DATA --scores ...`: one JSON and one table."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Annotated

import tyro

from crvae.cli.parsing import parse
from crvae.errors import UserError
from crvae.evaluation.evaluate import as_json, evaluate
from crvae.evaluation.registry import Request, in_order


def _scores() -> str:
    """What `--scores` takes, from the registry."""
    names = "; ".join(f"{kind.name}: {kind.says}" for kind in in_order())
    long = " and ".join(kind.name for kind in in_order() if kind.long)
    return f"Separated by commas. {names}. By default all that RUN and the other options allow, but {long}."


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """What is computed, and how."""

    data: str
    """Prepared dataset."""
    scores: Annotated[str, tyro.conf.arg(help=_scores())] = ""
    features: str = "efficientnet-lite0"
    """Whose features are compared: efficientnet-lite0, inception (of the published numbers; fetched), vgg11, timm:NAME,
    or classifier, for those that --classifier computes before its heads."""
    classifier: str = ""
    """Folder that `crvae classifier` made."""
    attribute: str = ""
    """Which of the classifier's attributes the inception score counts, where it has several."""
    split: str = ""
    """Split of the data that is compared with; by default test, else validation."""
    images: int = 0
    """Number of images; by default as many as the split has, at most 2,000."""
    seed: int = 0
    """Seed of samples, draws and groups."""
    samples: int = 100
    """Draws of the posterior for each image's likelihood, at most 10,000."""
    observation_variance: float = 0.0
    """Variance of a Gaussian decoder, for its likelihood; 0 takes the validation error, and says so."""

    def request(self) -> Request:
        """The same, checked. Raises UserError."""
        for option, value, least, most in (
            ("--images", self.images, 0, 10**7),
            ("--seed", self.seed, 0, 2**32 - 2),
            ("--samples", self.samples, 1, 10_000),
        ):
            if not least <= value <= most:
                raise UserError(f"{option} must lie between {least} and {most}, got {value}")
        if not (math.isfinite(self.observation_variance) and self.observation_variance >= 0):
            raise UserError(f"--observation-variance must be positive, got {self.observation_variance}")
        return Request(
            data=self.data,
            scores=tuple(name.strip() for name in self.scores.split(",") if name.strip()),
            features=self.features,
            classifier=self.classifier,
            attribute=self.attribute,
            split=self.split,
            images=self.images,
            seed=self.seed,
            samples=self.samples,
            variance=self.observation_variance,
        )


@dataclass(frozen=True, kw_only=True)
class Evaluate(Scoring):
    """Score a run, or a folder of PNG images, against a dataset."""

    run: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    """A run, an exported folder, a built-in model's name, or a folder of PNG images."""
    json: bool = False
    """Print one JSON document on standard output."""


def run(args: list[str]) -> None:
    """Computes the scores and prints them."""
    command = parse(Evaluate, args, name="evaluate")
    request = command.request()

    from crvae.progress import progress

    with progress() as advance:
        result = evaluate(command.run, request, advance)
    if command.json:
        print(json.dumps(as_json(result)))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Column, Table

    table = Table(Column("score", overflow="fold"), "value", "95% interval", "unit", "better", box=box.SIMPLE_HEAD)
    for score in result["scores"].values():
        table.add_row(
            score.name, f"{score.value:.5g}", f"{score.low:.5g} to {score.high:.5g}", score.unit, score.better
        )
    console = Console()
    console.print(table)
    console.print(
        f"{command.run} against {result['images']} {result['split']} images of {command.data}, seed {command.seed}"
        " (--json tells implementation, version, hash and resizer)",
        highlight=False,
    )
