"""Where a model comes from: its recipe, how long and on what it was trained, its data, its scores."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from crvae.config.stage1 import Stage1Config
from crvae.config.stage2 import Stage2Config
from crvae.data import PreparedData, open_data
from crvae.errors import UserError
from crvae.recipes import RECIPES
from crvae.storage.models import model_folder
from crvae.storage.weights import read_config
from crvae.training.run import Run, circumstances_differ

SCORES_LIMIT = 1 << 20
"""A larger file of scores is refused, in bytes."""

SCORE_FIELDS = {
    "name": str,
    "value": (int, float, type(None)),
    "implementation": str,
    "version": str,
    "images": int,
    "seed": int,
}
"""What a score must say of itself to be in a card."""


@dataclass(frozen=True)
class Provenance:
    """What is known of a model; what an exported folder no longer tells is None or empty."""

    recipe: str
    images: int
    changed: dict[str, Any] = field(default_factory=dict)
    """Options that differ from the recipe's."""
    environment: dict[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    """Training time, all interruptions left out."""
    before: tuple[tuple[int, dict[str, str]], ...] = ()
    """Images seen at each inexact resume, and what was another before it: `data` (a fingerprint), `world`, `precision`."""
    fingerprint: str = ""
    """Of the dataset that it was trained on."""
    data: PreparedData | None = None
    """That dataset, where it is still to be had."""
    scores: tuple[dict[str, Any], ...] = ()


def provenance(run: str, *, data: str = "", scores: tuple[Path, ...] = ()) -> Provenance:
    """What is known of the model of `run`. `data` says where its dataset is now, `scores` are files of `crvae evaluate --json`.

    Raises UserError if `data` is not what the run was trained on, or a file holds no scores.
    """
    body = read_config(model_folder(run))
    recipe, images = str(body.get("recipe", "")), body.get("images")
    images = images if isinstance(images, int) else 0
    found = tuple(score for path in scores for score in read_scores(path))
    folder = Path(run)
    if not (folder / "config.yaml").is_file():
        return Provenance(recipe, images, data=open_data(data) if data else None, scores=found)
    opened = Run(folder)
    about, reports = opened.environment(), opened.reports()
    fingerprint = about["data"]["fingerprint"]
    return Provenance(
        recipe,
        images,
        changed=departures(opened.config({1: Stage1Config, 2: Stage2Config})),
        environment={name: about.get(name) for name in ("device", "precision", "world", "threads", "torch", "commit")},
        seconds=reports[-1]["seconds"] if reports else None,
        before=_before(about),
        fingerprint=fingerprint,
        data=_dataset(data, about["data"]["path"], fingerprint),
        scores=found,
    )


def _before(about: dict[str, Any]) -> tuple[tuple[int, dict[str, str]], ...]:
    """What environment.json keeps of inexact resumes: of each, what it changed, as it was before."""
    states = [*about.get("before", []), about]
    found = []
    for old, new in pairwise(states):
        was = {"data": old["data"]["fingerprint"], "world": str(old["world"]), "precision": old["precision"]}
        found.append((old["images"], {name: was[name] for name in circumstances_differ(old, new)}))
    return tuple(found)


def read_scores(path: Path) -> list[dict[str, Any]]:
    """The scores in a file that `crvae evaluate --json` printed. Raises UserError if it holds none."""
    try:
        if path.stat().st_size > SCORES_LIMIT:
            raise UserError(f"--scores {path} is over {SCORES_LIMIT} bytes: give what `crvae evaluate --json` printed")
        scores = list(json.loads(path.read_text(encoding="utf-8"))["scores"].values())
        complete = all(isinstance(score[name], kind) for score in scores for name, kind in SCORE_FIELDS.items())
    except OSError as error:
        raise UserError(f"--scores {path} cannot be read: {error.strerror}") from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        scores, complete = [], False
    if not scores or not complete:
        raise UserError(f"--scores {path} holds no scores: give a file of what `crvae evaluate --json` printed")
    return scores


def departures(config: Stage1Config | Stage2Config) -> dict[str, Any]:
    """Options of the run that differ from those of its recipe, but for the precision, which every run resolves."""
    recipe = RECIPES.get(config.recipe)
    if recipe is None:
        return {}
    ours, theirs = _options(config.model_dump()), _options(recipe.config.model_dump())
    return {name: value for name, value in ours.items() if theirs.get(name) != value}


def _options(parts: dict[str, Any], before: str = "--") -> dict[str, Any]:
    """The values of nested parts by the name of their option; none of the run's own, nor its precision, which every run
    resolves, nor the kind of a prior's part, which is its name."""
    found: dict[str, Any] = {}
    for name, value in parts.items():
        if isinstance(value, dict):
            found |= _options(value, f"{before}{name}.".replace("_", "-"))
        elif before != "--" and name != "precision" and not (name == "kind" and before.count(".") > 1):
            found[f"{before}{name}".replace("_", "-")] = value
    return found


def _dataset(given: str, recorded: str, fingerprint: str) -> PreparedData | None:
    """The run's dataset, from where the user says it is, else from where it was, else nothing."""
    try:
        data = open_data(given or recorded)
    except UserError:
        if given:
            raise
        return None
    if data.fingerprint == fingerprint:
        return data
    if given:
        raise UserError(f"--data {given} is not the dataset that the run was trained on: give that, or leave it out")
    return None
