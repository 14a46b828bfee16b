"""Tables over several seeds on faces whose attributes are known: every model with its own prior and with N(0, I).

    python -m experiments.tables avatars --seeds 0 1 2

Trains as every plan does; then scores each run by `crvae evaluate` in each of VIEWS and measures by `crvae traverse attributes`
what its blocks know and decide. What is measured stays beside the runs, so that a second call makes only what is missing.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch

from crvae import intervals
from crvae.files import write_text
from crvae.tasks.attribute_report import beyond_chance
from experiments import tables
from experiments.plans import Plan

SAMPLES = "kid,prdc,is"
VIEWS = {
    "own prior": ("--scores", f"{SAMPLES},reconstruction,kl"),
    "own prior, classifier": ("--scores", "kid,prdc", "--features", "classifier"),
    "N(0, I)": ("--scores", SAMPLES, "--features", "classifier", "--prior", "normal"),
}
"""How each run is scored: the prior that its samples are drawn from, and whose features are compared."""
COLUMNS = {
    "own prior": ("is", "kid", "precision", "recall", "psnr", "lpips", "kl"),
    "own prior, classifier": ("kid", "precision", "recall"),
    "N(0, I)": ("is", "kid", "precision", "recall"),
}
"""What the table shows of each view."""
SCORED, PICKED = 1_000, "hair"
"""Images of each score; the attribute whose classes the inception score counts."""


def make(
    plan: Plan, name: str, budget: str, seeds: list[int], piece: tables.Piece, runs: dict[tuple[str, int], Path]
) -> None:
    """The results of `runs`, (row, seed) -> run, all trained: scores, attributes, pictures of the first seed."""
    _, judge = tables.classifier(piece, plan)
    scores: dict[str, dict[str, list[dict]]] = {row.name: {view: [] for view in VIEWS} for row in plan.rows}
    found: dict[str, list[dict]] = {row.name: [] for row in plan.rows}
    for (row, _), run in runs.items():
        for view, options in VIEWS.items():
            scores[row][view].append(scored(piece, plan, run, view, judge, options))
        found[row].append(attributes(piece, plan, run, judge) / "attributes.json")
    made = tables.emptied(tables.RUNS / f"report-{name}")
    for (row, seed), run in runs.items():
        if seed != seeds[0]:
            continue
        for prior, ending in (("own", ""), ("normal", "-normal")):
            piece.run("sample", str(run), "--count", "40", "--prior", prior, "--out", str(made / f"{row}{ending}.png"))
        shutil.copyfile(attributes(piece, plan, run, judge) / "attributes.png", made / f"{row}-attributes.png")
    measured = {row: [json.loads(path.read_text()) for path in paths] for row, paths in found.items()}
    write_text(made / "scores.json", json.dumps({"seeds": seeds, "scores": scores}, indent=1) + "\n")
    write_text(made / "attributes.json", json.dumps({"seeds": seeds, "attributes": measured}) + "\n")
    lines = [f"# {plan.title}", "", f"Seeds: {', '.join(map(str, seeds))}. {SCORED:,} images. "
             "Means over seeds, in brackets their 95% interval by Student's t.", ""]  # fmt: skip
    lines += score_table(scores) + attribute_table(measured) + pictures(plan)
    write_text(made / "report.md", "\n".join(lines) + "\n")
    about = {"title": plan.title, "budget": budget, "images": plan.images[budget]}
    tables.keep(made, tables.RESULTS / name, about | {"runs": tables.provenance([str(run) for run in runs.values()])})


def scored(
    piece: tables.Piece, plan: Plan, run: Path, view: str, judge: str, options: tuple[str, ...]
) -> dict[str, Any]:
    """What `crvae evaluate` says of a run in one view."""
    path = tables.RUNS / f"scores-{run.name}-{''.join(c for c in view if c.isalnum())}.json"
    if not path.exists():
        words = (str(run), "--data", plan.data, "--classifier", judge, "--attribute", PICKED, "--images", str(SCORED))
        write_text(path, piece.read("evaluate", *words, *options, "--json", threads=1))
    return json.loads(path.read_text())["scores"]


def attributes(piece: tables.Piece, plan: Plan, run: Path, judge: str) -> Path:
    """The folder in which `crvae traverse attributes` says what the run's blocks know and decide."""
    out = tables.RUNS / f"attributes-{run.name}"
    if not out.exists():
        piece.run("traverse", str(run), "attributes", "--data", plan.data, "--classifier", judge, "--out", str(out))
    return out


def over_seeds(values: list[float]) -> str:
    """Mean and interval over seeds, or the one value that there is."""
    if len(values) == 1:
        return f"{values[0]:.3g}"
    part = intervals.mean(torch.tensor(values))
    return f"{part['value']:.3g} ({part['low']:.3g} to {part['high']:.3g})"


def score_table(scores: dict[str, dict[str, list[dict]]]) -> list[str]:
    """One row a score, one column a model."""
    lines = ["## Scores", "", f"| samples from | score | {' | '.join(scores)} |", "|---|---|" + "---:|" * len(scores)]
    for view, columns in COLUMNS.items():
        for column in columns:
            rows = {row: [seed[column] for seed in views[view]] for row, views in scores.items()}
            title = next(iter(rows.values()))[0]["name"]
            values = [over_seeds([score["value"] for score in row]) for row in rows.values()]
            lines.append(
                f"| {view.split(',')[0] if view.startswith('own') else 'N(0, I)'} | {title} | {' | '.join(values)} |"
            )
    real = next(iter(scores.values()))["own prior"][0]["is"]["details"]["of_real_images"]
    return [*lines, "", f"Inception score of the held-out images themselves: {real:.3g}.", ""]


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


def pictures(plan: Plan) -> list[str]:
    """The grids of the first seed."""
    lines = ["## Pictures", ""]
    for row in plan.rows:
        lines += [f"### {row.name}", "", f"![Samples from its own prior]({row.name}.png)", ""]
        lines += [
            f"![Samples from N(0, I)]({row.name}-normal.png)",
            "",
            f"![Attributes]({row.name}-attributes.png)",
            "",
        ]
    return lines
