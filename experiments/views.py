"""Tables over several seeds: every model with its own prior and with N(0, I), or whatever else its plan's views are.

    python -m experiments.tables avatars --seeds 0 1 2

Scores each run by `crvae evaluate` in each view of its plan, and on faces measures by `crvae traverse attributes` what its blocks
know and decide. What is measured stays beside the runs, so that a second call makes only what is missing.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from crvae import intervals
from crvae.files import write_text
from crvae.tasks.attribute_report import beyond_chance
from experiments import results, training
from experiments.growing import Kept
from experiments.options import NORMAL
from experiments.plan import Plan

SHOWN = ("is", "kid", "precision", "recall", "psnr", "lpips", "kl", "elbo", "nll")
"""What the table shows of a view's scores, in this order."""
SCORED, PICKED = 1_000, "hair"
"""Images of each score; the attribute of faces whose classes the inception score counts."""


def measure(piece: training.Piece, plan: Plan, run: Path, first: bool) -> None:
    """What the report needs to know of a trained run; pictures are of the first seed."""
    for view in plan.views:
        scored(piece, plan, run, view)
    if plan.probed:
        training.traversed(piece, plan, run, "attributes")
    for prior in _priors(plan) if first else ():
        sampled(piece, run, prior)


def report(
    plan: Plan,
    name: str,
    budget: str,
    seeds: list[int],
    piece: training.Piece,
    runs: dict[tuple[str, int], Path],
    before: Kept,
) -> None:
    """The results of `runs`, (row, seed) -> run, all trained, after the seeds `before`: scores, attributes of faces, pictures
    of the first seed."""
    rows, all_seeds = [row.name for row in plan.rows], [*before.seeds, *seeds]
    scores = before.with_scores(
        {
            row: {view: [scored(piece, plan, runs[row, seed], view) for seed in seeds] for view in plan.views}
            for row in rows
        }
    )
    made = results.emptied(training.RUNS / f"report-{name}")
    lines = [f"# {plan.title}", "", f"Seeds: {', '.join(map(str, all_seeds))}. {plan.scored or SCORED:,} images. "
             "Means over seeds, in brackets their 95% interval by Student's t.", ""]  # fmt: skip
    lines += score_table(scores)
    if plan.probed:
        measured = before.with_attributes(
            {row: [_attributes(training.traversed(piece, plan, runs[row, seed], "attributes")) for seed in seeds]
             for row in rows}
        )  # fmt: skip
        write_text(made / "attributes.json", json.dumps({"seeds": all_seeds, "attributes": measured}) + "\n")
        lines += attribute_table(measured)
    lines += ["## Pictures", ""]
    for row in rows:
        lines += [f"### {row}", ""]
        for file, caption, picture in _pictures(piece, plan, row, runs[row, seeds[0]]):
            shutil.copyfile(before.folder / file if before.seeds else picture(), made / file)
            lines += [f"![{caption}]({file})", ""]
    write_text(made / "scores.json", json.dumps({"seeds": all_seeds, "scores": scores}, indent=1) + "\n")
    about = {"title": plan.title, "budget": budget, "images": plan.images[budget]}
    results.report(made, name, lines, about, before.with_runs(results.provenance(runs.values())))


def _pictures(piece: training.Piece, plan: Plan, row: str, run: Path) -> Iterator[tuple[str, str, Callable[[], Path]]]:
    """Of a row's first seed: the picture's name, its caption, and what makes it."""
    for prior, ending in _priors(plan).items():
        caption = f"Samples from {'N(0, I)' if ending else 'its own prior'}"
        yield f"{row}{ending}.png", caption, partial(sampled, piece, run, prior)
    if plan.probed:
        yield (
            f"{row}-attributes.png",
            "Attributes",
            lambda: training.traversed(piece, plan, run, "attributes") / "attributes.png",
        )


def _attributes(folder: Path) -> dict[str, Any]:
    """What `crvae traverse attributes` measured, to four digits."""
    return json.loads((folder / "attributes.json").read_text(), parse_float=lambda word: round(float(word), 4))


def scored(piece: training.Piece, plan: Plan, run: Path, view: str) -> dict[str, Any]:
    """What `crvae evaluate` says of a run in one view; measured once for each classifier and each way to ask."""
    judge = training.classifier(piece, plan)
    picked = ("--attribute", PICKED) if plan.faces else ()
    words = ("--data", plan.data, "--images", str(plan.scored or SCORED), *judge, *picked, *plan.views[view], "--json")
    asked = hashlib.sha256(" ".join(words).encode())
    for folder in judge[1:]:
        asked.update((Path(folder) / "model.safetensors").read_bytes())
    path = training.RUNS / f"scores-{run.name}-{asked.hexdigest()[:12]}.json"
    if not path.exists():
        write_text(path, piece.read("evaluate", str(run), *words, threads=1))
    return json.loads(path.read_text())["scores"]


def sampled(piece: training.Piece, run: Path, prior: str) -> Path:
    """A picture of 40 samples."""
    out = training.RUNS / f"samples-{run.name}-{prior}.png"
    if not out.exists():
        piece.run("sample", str(run), "--count", "40", "--prior", prior, "--out", str(out))
    return out


def _priors(plan: Plan) -> dict[str, str]:
    """What the plan's samples are drawn from -> how its pictures' names end."""
    return {"own": ""} | ({"normal": "-normal"} if any(set(words) >= NORMAL for words in plan.views.values()) else {})


def over_seeds(values: list[float]) -> str:
    """Mean and interval over seeds, or the one value that there is."""
    if len(values) == 1:
        return f"{values[0]:.3g}"
    part = intervals.mean(torch.tensor(values))
    return f"{part['value']:.3g} ({part['low']:.3g} to {part['high']:.3g})"


def score_table(scores: dict[str, dict[str, list[dict]]]) -> list[str]:
    """One row a score, one column a model."""
    lines = ["## Scores", "", f"| samples from | score | {' | '.join(scores)} |", "|---|---|" + "---:|" * len(scores)]
    first = next(iter(scores.values()))
    for view, seeds in first.items():
        for column in (column for column in SHOWN if column in seeds[0]):
            values = [over_seeds([seed[column]["value"] for seed in views[view]]) for views in scores.values()]
            lines.append(f"| {view.removesuffix(', classifier')} | {seeds[0][column]['name']} | {' | '.join(values)} |")
    lines.append("")
    inception = next((seeds[0]["is"] for seeds in first.values() if "is" in seeds[0]), None)
    if inception:
        real = inception["details"]["of_real_images"]
        lines += [f"Inception score of the held-out images themselves: {real:.3g}.", ""]
    return lines


def attribute_table(found: dict[str, list[dict]]) -> list[str]:
    """What all blocks, the first two and the best single one know of each attribute, and how far one block's say leads."""
    measures = {
        "all blocks": lambda known, _: beyond_chance(known["first"][-1]["value"], known["chance"]),
        "first two": lambda known, _: beyond_chance(known["first"][1]["value"], known["chance"]),
        "best block": lambda known, _: max(beyond_chance(part["value"], known["chance"]) for part in known["block"]),
        "lead over the second": lambda _, decided: decided["lead"]["value"],
    }
    lines = [
        "## Attributes",
        "",
        "Read by linear probes from posterior means (0: no better than the commonest value, 1: always right). Lead: by how much the "
        "share of samples whose value changes is larger if the deciding block is drawn anew than if the second is, given the others.",
        "",
        f"| attribute | | {' | '.join(found)} |",
        "|---|---|" + "---:|" * len(found),
    ]
    for name in next(iter(found.values()))[0]["known"]:
        for measure, value in measures.items():
            cells = [
                over_seeds([value(one["known"][name], one["decided"][name]) for one in ones]) for ones in found.values()
            ]
            lines.append(f"| {name} | {measure} | {' | '.join(cells)} |")
    return [*lines, ""]
