"""Reports that grow by a seed: the seeds of a kept report stand beside those that are measured now.

    python -m experiments.tables emoji-eightfold-parts --seeds 1 --add

The runs behind a kept report need not be at hand: what the table says of them is in its JSON.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments import results
from experiments.plan import Plan

Scores = dict[str, dict[str, list[dict[str, Any]]]]
"""Row -> view -> what `crvae evaluate` says, a seed after the other."""


@dataclass(frozen=True)
class Kept:
    """Seeds that a report has already; nothing where none is to grow."""

    name: str = ""
    seeds: list[int] = field(default_factory=list)
    scores: Scores = field(default_factory=dict)
    attributes: dict[str, list[dict]] = field(default_factory=dict)
    """Row -> what `crvae traverse attributes` says, a seed after the other."""
    runs: list[dict] = field(default_factory=list)
    """Their provenance, seed after seed."""

    @property
    def folder(self) -> Path:
        """Where its pictures are."""
        return results.RESULTS / self.name

    def with_scores(self, measured: Scores) -> Scores:
        """Its scores, then these. Exits where they are of other rows or views, or of another judge."""
        if not self.seeds:
            return measured
        if _judges(measured) != _judges(self.scores):
            raise SystemExit(
                f"{self.folder}: its scores are of other rows, views, classifiers or numbers of images and cannot stand beside these; "
                "train all seeds, without --add"
            )
        return {
            row: {view: [*self.scores[row][view], *seeds] for view, seeds in views.items()}
            for row, views in measured.items()
        }

    def with_attributes(self, measured: dict[str, list[dict]]) -> dict[str, list[dict]]:
        """What its blocks know and decide, then this."""
        return {row: [*self.attributes.get(row, []), *seeds] for row, seeds in measured.items()}

    def with_runs(self, runs: list[dict]) -> list[dict]:
        """The provenance of its runs, then of these. Exits where the commands differ by more than the seed."""
        if self.seeds and _commands(runs) != _commands(self.runs):
            raise SystemExit(f"{self.folder}: its runs had other options; train all seeds, without --add")
        return [*self.runs, *runs]


def kept(name: str, seeds: list[int], plan: Plan) -> Kept:
    """The kept report of a plan's table, to which `seeds` are to be added. Exits where there is none, or it has one of them."""
    folder = results.RESULTS / name
    if not plan.views or not (folder / "scores.json").exists():
        raise SystemExit(f"{folder} has no report with seeds to add to; leave --add out")
    found = json.loads((folder / "scores.json").read_text())
    twice = sorted(set(seeds) & set(found["seeds"]))
    if twice:
        raise SystemExit(f"{folder} has seed {twice[0]} already")
    measured = folder / "attributes.json"
    attributes = json.loads(measured.read_text())["attributes"] if measured.exists() else {}
    runs = json.loads((folder / "provenance.json").read_text())["runs"]
    return Kept(name, found["seeds"], found["scores"], attributes, runs)


def _judges(scores: Scores) -> dict[tuple[str, str, str], set[tuple[str, str, int]]]:
    """Row, view and score -> the names under which it is printed, whose features it compares, and of how many images."""
    found: dict[tuple[str, str, str], set[tuple[str, str, int]]] = {}
    for row, views in scores.items():
        for view, seeds in views.items():
            for score, value in ((score, value) for seed in seeds for score, value in seed.items()):
                found.setdefault((row, view, score), set()).add(
                    (value["name"], value.get("features_sha256", ""), value.get("images", 0))
                )
    return found


def _commands(runs: list[dict]) -> set[str]:
    return {re.sub(r"seed ?\d+", "seed", run["command"]) for run in runs}
