"""Is the order of the blocks worth something? What the first blocks of every model cost and show, over several seeds.

    python -m experiments.tables nested --seeds 0 1 2

Measures each run by `crvae traverse rate` (nats, bytes of `.crz` files, PSNR, distance, on faces attributes) and by `crvae traverse
profile` (which spatial frequencies one block changes), on validation images.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crvae.files import write_text
from crvae.tasks.rate import NAMES
from experiments import results, training
from experiments.plan import Plan
from experiments.views import over_seeds

SHOWN = ("nats", "bytes", "psnr", "distance", "attributes")


def measure(piece: training.Piece, plan: Plan, run: Path, first: bool) -> None:
    """What the report needs to know of a trained run; pictures are of the first seed."""
    training.traversed(piece, plan, run, "rate")
    profiled(piece, plan, run)
    if first:
        walked(piece, run)


def report(
    plan: Plan, name: str, budget: str, seeds: list[int], piece: training.Piece, runs: dict[tuple[str, int], Path]
) -> None:
    """The results of `runs`, (row, seed) -> run, all trained: two tables, the plots of the first seed."""
    rows = [row.name for row in plan.rows]
    folders = {row: [runs[row, seed] for seed in seeds] for row in rows}
    rates = {
        row: [
            json.loads((training.traversed(piece, plan, run, "rate") / "rate.json").read_text())["rows"]
            for run in trained
        ]
        for row, trained in folders.items()
    }
    profiles = {
        row: [json.loads(profiled(piece, plan, run).read_text()) for run in trained] for row, trained in folders.items()
    }
    made = results.emptied(training.RUNS / f"report-{name}")
    lines = [f"# {plan.title}", "", f"Seeds: {', '.join(map(str, seeds))}. Means over seeds, in brackets their 95% interval by "
             "Student's t.", ""]  # fmt: skip
    lines += rate_table(rates) + profile_table(profiles) + ["## Pictures", ""]
    for row in rows:
        run = runs[row, seeds[0]]
        shutil.copyfile(training.traversed(piece, plan, run, "rate") / "rate.png", made / f"{row}-rate.png")
        shutil.copyfile(walked(piece, run), made / f"{row}.png")
        lines += [
            f"### {row}",
            "",
            f"![Rate and distortion]({row}-rate.png)",
            "",
            f"![Block after block]({row}.png)",
            "",
        ]
    write_text(made / "order.json", json.dumps({"seeds": seeds, "rates": rates, "profiles": profiles}) + "\n")
    about = {"title": plan.title, "budget": budget, "images": plan.images[budget]}
    results.report(made, name, lines, about, results.provenance(runs.values()))


def profiled(piece: training.Piece, plan: Plan, run: Path) -> Path:
    """The JSON in which `crvae traverse profile` says what one block changes."""
    out = training.RUNS / f"profile-{run.name}.png"
    if not out.with_suffix(".json").exists():
        piece.run("traverse", str(run), "profile", "--images", plan.data, "--out", str(out))
    return out.with_suffix(".json")


def walked(piece: training.Piece, run: Path) -> Path:
    """A picture of samples, block after block."""
    out = training.RUNS / f"progressive-{run.name}.png"
    if not out.exists():
        piece.run("traverse", str(run), "progressive", "--out", str(out))
    return out


def rate_table(rates: dict[str, list[list[dict[str, Any]]]]) -> list[str]:
    """One row a measure and number of blocks, one column a model."""
    lines = [
        "## After the first blocks",
        "",
        f"| measure | blocks | {' | '.join(rates)} |",
        "|---|---:|" + "---:|" * len(rates),
    ]
    first = next(iter(rates.values()))[0]
    for measure in (name for name in SHOWN if name in first[0]):
        for t in range(len(first)):
            cells = [over_seeds([rows[t][measure]["mean"] for rows in seeds]) for seeds in rates.values()]
            lines.append(f"| {NAMES[measure]} | {t} | {' | '.join(cells)} |")
    return [*lines, ""]


def profile_table(profiles: dict[str, list[dict[str, Any]]]) -> list[str]:
    """How coarse each block is: nats, and which share of what it changes lies below two cycles, one row a block."""
    lines = [
        "## Block by block",
        "",
        "Coarse share: of the squared change of the picture when the block alone is drawn anew, the part in the lowest band.",
        "",
        f"| measure | block | {' | '.join(profiles)} |",
        "|---|---:|" + "---:|" * len(profiles),
    ]
    measures: dict[str, Callable[[dict[str, Any], int], float]] = {
        "nats": lambda found, t: found["kl"][t],
        "change, mean squared": lambda found, t: found["resampled"]["change"][t]["mean"],
        "coarse share": lambda found, t: _coarse(found["resampled"]["bands"][t]),
    }
    for name, value in measures.items():
        for t in range(next(iter(profiles.values()))[0]["steps"]):
            cells = [over_seeds([value(found, t) for found in seeds]) for seeds in profiles.values()]
            lines.append(f"| {name} | {t + 1} | {' | '.join(cells)} |")
    return [*lines, ""]


def _coarse(bands: list[dict[str, float]]) -> float:
    return bands[0]["mean"] / max(sum(band["mean"] for band in bands), 1e-12)
