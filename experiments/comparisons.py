"""The tables of comparisons in docs/evidence.md, each verdict by one rule, from the results' scores.json.

    python -m experiments.comparisons

Writes the tables between the markers of the page; nothing else of it changes.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from crvae import intervals
from crvae.files import write_text
from experiments.results import RESULTS

PAGE = Path("docs/evidence.md")
NORMAL, LEARNED = "N(0, I)", "learned prior"
VIEWS = {NORMAL: {"": "N(0, I)"}, LEARNED: {"": "own prior", "kid": "own prior, classifier"}}
"""Prior -> score -> the view of scores.json that has it on the features that agree with the eye; "" stands for all others."""
LOWER = {"kid", "lpips", "nll"}
"""Scores that are better if they are lower."""
SMALL = 0.03
"""A difference below this share of the other's value is none, however sure."""

USUAL = 3
"""Seeds of a comparison: a row of fewer says how many."""

Place = tuple[str, str]
"""A table and a row of it."""


@dataclass(frozen=True)
class Comparison:
    """Two rows, by the same seeds; `ours` is what the paper says is better."""

    what: str
    prior: str
    ours: Place
    theirs: Place


@dataclass(frozen=True)
class Table:
    """Comparisons by the same scores: score -> the column's title."""

    scores: dict[str, str]
    rows: Sequence[Comparison]


SAMPLES = {"kid": "KID", "is": "inception score"}


def both(what: str, table: str, ours: str, theirs: str) -> list[Comparison]:
    """A pair of a table's rows with each prior."""
    return [Comparison(what, prior, (table, ours), (table, theirs)) for prior in (NORMAL, LEARNED)]


SETS = {
    "faces, 30,000 images": "avatars",
    "faces, 240,000": "avatars-eightfold",
    "emoji, 30,000": "emoji",
    "emoji, 240,000": "emoji-eightfold",
    "Fashion-MNIST, 30,000": "fashion-fast",
    "Fashion-MNIST, 240,000": "fashion-eightfold-pair",
}
"""Table 1 by the fast recipes."""
PAPER = {"faces, the paper's networks, 100,000": "paper", "the same, 400,000": "paper-long"}
PARTS = {
    "faces": "objectives",
    "emoji": "emoji-parts",
    "Fashion-MNIST": "fashion-parts",
    "Fashion-MNIST, 240,000 images": "fashion-eightfold-parts",
}
CONTROLS = {"faces": "controls-avatars", "emoji": "emoji-parts", "Fashion-MNIST": "fashion-parts"}

TABLES: dict[str, Table] = {
    "dense": Table(
        SAMPLES, [row for what, name in (SETS | PAPER).items() for row in both(what, name, "crvae-gan-mi", "vae-gan")]
    ),
    "reconstructions": Table(
        {"psnr": "PSNR, dB", "lpips": "LPIPS-style distance"},
        [Comparison(what, LEARNED, (name, "crvae-gan-mi"), (name, "vae-gan")) for what, name in (SETS | PAPER).items()],
    ),
    "recurrence": Table(
        SAMPLES, [row for what, name in CONTROLS.items() for row in both(what, name, "crvae-gan-mi", "perceptron")]
    ),
    "information": Table(
        SAMPLES, [row for what, name in PARTS.items() for row in both(what, name, "crvae-gan-mi", "crvae-gan")]
    ),
    "weights": Table(
        SAMPLES, [row for what, name in PARTS.items() for row in both(what, name, "crvae-gan-mi-kl", "crvae-gan-mi")]
    ),
}


def verdict(ours: list[float], theirs: list[float], score: str) -> str:
    """What the seeds say of `ours` being better than `theirs`, seed by seed.

    By the 95% interval of the mean difference (Student's t): yes or no if it is on one side of 0, rather yes or rather no if it
    is not but every seed is, otherwise no difference. Neither is a difference of less than SMALL of the other's mean.
    """
    sign = -1 if score in LOWER else 1
    differences = [sign * (a - b) for a, b in zip(ours, theirs, strict=True)]
    found = intervals.mean(torch.tensor(differences, dtype=torch.float64))
    if abs(found["value"]) < SMALL * abs(sum(theirs) / len(theirs)):
        return "no difference"
    if found["low"] > 0 or found["high"] < 0:
        return "**yes**" if found["low"] > 0 else "**no**"
    if min(differences) > 0 or max(differences) < 0:
        return "rather yes" if min(differences) > 0 else "rather no"
    return "no difference"


def with_interval(values: list[float]) -> str:
    """The mean over seeds and its 95% interval, to two digits of half its width and three of the mean at most."""
    found = intervals.mean(torch.tensor(values, dtype=torch.float64))
    half = found["high"] - found["value"]
    leading = math.floor(math.log10(abs(found["value"]) or 1))
    digits = max(0, min(2 - leading, 1 - math.floor(math.log10(half)) if half > 0 else 2))
    return f"{found['value']:.{digits}f} ({found['low']:.{digits}f} to {found['high']:.{digits}f})"


def scores(place: Place, prior: str, score: str) -> dict[int, dict[str, Any]]:
    """Seed -> what is kept of the score."""
    table, row = place
    kept = json.loads((RESULTS / table / "scores.json").read_text())
    view = VIEWS[prior].get(score, VIEWS[prior][""])
    return {seed: one[score] for seed, one in zip(kept["seeds"], kept["scores"][row][view], strict=True)}


def paired(row: Comparison, score: str) -> tuple[list[float], list[float]]:
    """Ours and theirs, seed by seed. Raises ValueError if two networks measured them: their scores cannot be compared."""
    ours, theirs = (scores(place, row.prior, score) for place in (row.ours, row.theirs))
    networks = {one.get("features_sha256") for kept in (ours, theirs) for one in kept.values()}
    if len(networks) > 1:
        raise ValueError(f"{score} of {row.what} is of {len(networks)} networks: score both rows with one of them")
    seeds = sorted(ours.keys() & theirs.keys())
    return [ours[seed]["value"] for seed in seeds], [theirs[seed]["value"] for seed in seeds]


def written(table: Table) -> str:
    """The table in Markdown; a column names the prior where there are several."""
    several = len({row.prior for row in table.rows}) > 1
    head = ["", *(["samples from"] if several else [])]
    head += [word for title in table.scores.values() for word in (title, "better?")]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for row in table.rows:
        cells, seeds = [row.prior] if several else [], 0
        for score in table.scores:
            ours, theirs = paired(row, score)
            seeds = len(ours)
            cells += [f"{with_interval(ours)} against {with_interval(theirs)}", verdict(ours, theirs, score)]
        what = row.what if seeds >= USUAL else f"{row.what}, {seeds} seeds"
        lines.append(f"| {' | '.join([what, *cells])} |")
    return "\n".join(lines)


def filled(page: str) -> str:
    """The page with each table between its markers, `<!-- table NAME -->` and `<!-- end -->`."""
    for name, table in TABLES.items():
        marked = re.compile(rf"(<!-- table {name} -->\n).*?(\n<!-- end -->)", re.DOTALL)
        if not marked.search(page):
            raise SystemExit(f"{PAGE} has no place for the table {name}: write <!-- table {name} --> and <!-- end -->")
        page = marked.sub(lambda match, table=table: match[1] + "\n" + written(table) + "\n" + match[2], page)
    return page


if __name__ == "__main__":
    write_text(PAGE, filled(PAGE.read_text()))
