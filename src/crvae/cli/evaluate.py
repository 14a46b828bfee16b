"""`crvae evaluate RUN --data DATA --scores ...`: one JSON and one table."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any

import tyro

from crvae.cli.parsing import parse
from crvae.evaluation.evaluate import evaluate
from crvae.evaluation.registry import Request, in_order, names
from crvae.evaluation.scores import HEADINGS, Scores
from crvae.storage.folders import WhichPrior


def _scores() -> str:
    """What `--scores` takes, from the registry."""
    kinds = "; ".join(f"{kind.name}: {kind.says}" for kind in in_order())
    long = " and ".join(kind.name for kind in in_order() if kind.long)
    return f"Separated by commas. {kinds}. By default all that RUN, the images and the other options allow, but {long}."


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
    pixel_limit: float = 200.0
    """A folder's image above this many megapixels is refused undecoded."""
    seed: int = 0
    """Seed of samples, draws and groups."""
    prior: WhichPrior = "own"
    """own: the prior that the model was trained with; normal: N(0, I) in the place of a learned one."""
    samples: int = 100
    """Draws of the posterior for each image's likelihood, at most 10,000."""
    observation_variance: float = 0.0
    """Variance of a Gaussian decoder, for its likelihood; 0 takes the validation error, and says so."""

    def request(self) -> Request:
        """The same as a Request. Raises UserError."""
        given: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(Request)}
        given["scores"] = names(self.scores)
        return Request(**given)


@dataclass(frozen=True, kw_only=True)
class Evaluate(Scoring):
    """Score a run, or a folder of images, against a dataset."""

    run: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    """A run, an exported folder, a built-in model's name, or a folder of images of one size."""
    json: bool = False
    """Print one JSON document on standard output."""


SHOWN = 5
"""Names that are not looked at and are said."""


def say_beside(run: str, names: Sequence[str]) -> None:
    """A line on standard error about what lies beside the images of a folder."""
    if names:
        more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
        print(f"crvae: {run}: not looked at: {', '.join(names[:SHOWN])}{more}", file=sys.stderr)


def run(args: list[str]) -> None:
    """Computes the scores and prints them."""
    command = parse(Evaluate, args, name="evaluate")
    request = command.request()

    from crvae.progress import progress

    with progress() as advance:
        scores = Scores(evaluate(command.run, request, advance))
    say_beside(command.run, scores.not_looked_at)
    if scores.left_out:
        print(f"crvae: {scores.left_out}", file=sys.stderr)
    if command.json:
        print(json.dumps(scores.json()))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Column, Table

    first, *others = HEADINGS
    table = Table(Column(first, overflow="fold"), *others, box=box.SIMPLE_HEAD)
    for row in scores.rows():
        table.add_row(*row)
    console = Console()
    console.print(table)
    console.print(f"{scores.caption} (--json tells implementation, version, hash and resizer)", highlight=False)
