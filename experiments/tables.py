"""The paper's tables and figures, one command each; a second call continues where the first was stopped.

    python -m experiments.tables table1 [NAME ...] [--budget cpu|gpu] [--seeds 0 1 2] [--add] [--jobs 2] [--minutes M]

Trains what is missing (`crvae train`, one thread for each of `--jobs` rows), then writes docs/results/NAME/ by `crvae compare`:
report.md, report.json, the pictures, and provenance.json (commands, machine, commit, time). table2, figure7 and figure9 use runs of table1.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

from crvae.files import write_text
from experiments import order, results, training, views
from experiments.growing import Kept, kept
from experiments.plan import Plan, Row
from experiments.plans import PLANS

STAGE2_IMAGES = {"cpu": 10_000, "gpu": 600_000}
STAGE2_DATA = {"table1": "data/emoji128", "avatars": "data/avatars64"}
"""Table of the Stage1 models -> prepared pairs of small and large images."""
STAGE2_SCORES = "benchmarks/stage2_scores.py"


def make(names: list[str], budget: str, seeds: list[int], jobs: int, piece: training.Piece, add: bool = False) -> None:
    """Everything of some plans, for each seed: `jobs` runs at once, whichever plan they are of, beside them the classifiers of
    the scores; the reports one after the other. `add`: the seeds of the kept reports stay in them."""
    training.RUNS.mkdir(parents=True, exist_ok=True)
    before = {name: kept(name, seeds, PLANS[name]) if add else Kept() for name in names}
    alone: dict[Path, threading.Lock] = {}
    with ThreadPoolExecutor(jobs) as pool, ThreadPoolExecutor(1) as beside:
        judges = [beside.submit(training.classifier, piece, PLANS[name]) for name in names]
        begun: list[list[Future[None]]] = []
        for name in names:
            plan, parts = PLANS[name], []
            for row, seed in ((row, seed) for seed in seeds for row in plan.at(budget)):
                images = plan.images[budget]
                lock = alone.setdefault(training.folder(plan, row, images, seed), threading.Lock())
                parts.append(pool.submit(_one, piece, lock, plan, row, images, seed, seed == seeds[0]))
            begun.append(parts)
        failed: BaseException | None = None  # of one plan, which keeps no other from its report
        for name, judge, parts in zip(names, judges, begun, strict=True):
            try:
                judge.result()
                for part in parts:
                    part.result()
                _report(piece, name, budget, seeds, before[name])
            except (training.OutOfTime, SystemExit) as error:
                failed = failed or error
    if failed:
        raise failed


def _one(
    piece: training.Piece, alone: threading.Lock, plan: Plan, row: Row, images: int, seed: int, first: bool
) -> None:
    """A row's run, trained, and measured where seeds are reported together; `alone` keeps another plan's thread from it."""
    run = training.folder(plan, row, images, seed)
    with alone:
        training.train(piece, plan, row, images, seed)
        if plan.views:
            views.measure(piece, plan, run, first)
        if plan.order:
            order.measure(piece, plan, run, first)


def _report(piece: training.Piece, name: str, budget: str, seeds: list[int], before: Kept) -> None:
    plan = PLANS[name]
    images, rows = plan.images[budget], plan.at(budget)
    if plan.views or plan.order:
        runs = {(row.name, seed): training.folder(plan, row, images, seed) for seed in seeds for row in rows}
        if plan.views:
            views.report(plan, name, budget, seeds, piece, runs, before)
        else:
            order.report(plan, name, budget, seeds, piece, runs)
        return
    options = ("--images", str(plan.scored), *training.classifier(piece, plan))
    for seed in seeds:
        out = results.RESULTS / (f"{name}-seed{seed}" if seed else name)
        runs = [str(training.folder(plan, row, images, seed)) for row in rows]
        made = training.RUNS / f"report-{out.name}"
        shutil.rmtree(made, ignore_errors=True)
        piece.run(
            "compare", *runs, "--data", plan.data, "--scores", plan.scores, "--out", str(made), *options, threads=2
        )
        title = plan.title + (f" (seed {seed})" if seed else "")
        report = (made / "report.md").read_text().replace("# Comparison\n", f"# {title}\n", 1)
        if not plan.originals:
            (made / "reconstructions.png").unlink()
            report = re.sub(r"## [^\n]+\n\n[^\n]+\(reconstructions\.png\)\n+", "", report)
        write_text(made / "report.md", report)
        results.keep(made, out, {"title": title, "budget": budget, "images": images, "runs": results.provenance(runs)})


def pair(piece: training.Piece, budget: str, table: str = "table1") -> dict[str, Path]:
    """A table's crVAE-GAN + MI and its dense control, trained: row name -> run."""
    plan = PLANS[table]
    images = plan.images[budget]
    rows = [row for name in ("crvae-gan-mi", "vae-gan") for row in plan.at(budget) if row.name == name]
    for row in rows:
        training.train(piece, plan, row, images, 0)
    return {row.name: training.folder(plan, row, images, 0) for row in rows}


def table2(budget: str, piece: training.Piece, table: str = "table1", name: str = "table2") -> None:
    """Table 2 by the automatic judge: crVAE-GAN + MI against VAE-GAN, both of `table`; written to the results as `name`."""
    from experiments.completion import judge

    plan, runs = PLANS[table], [str(run) for run in pair(piece, budget, table).values()]
    _, judging = training.classifier(piece, plan)
    work = training.RUNS / f"{name}-{budget}"
    work.mkdir(parents=True, exist_ok=True)
    judge(*runs, plan.data, judging, work, plan.search)
    made = results.emptied(work / "report")
    shutil.copyfile(work / "judge.json", made / "judge.json")
    about = {"title": "Table 2 by the automatic judge", "budget": budget, "runs": results.provenance(runs)}
    results.keep(made, results.RESULTS / name, about)


def figure9(budget: str, piece: training.Piece) -> None:
    """Figure 9: block after block, of table1's crVAE-GAN + MI and of its VAE-GAN as the control."""
    made, models = results.emptied(training.RUNS / "report-figure9"), pair(piece, budget)
    for row, run in models.items():
        piece.run("traverse", str(run), "progressive", "--out", str(made / f"{row}.png"))
    runs = results.provenance([str(run) for run in models.values()])
    about = {"title": "Figure 9: progressive sampling", "budget": budget, "runs": runs}
    results.keep(made, results.RESULTS / "figure9", about)


def figure7(budget: str, piece: training.Piece, table: str = "table1", name: str = "figure7") -> None:
    """Table 1, lower half: Stage2 with and without perceptual loss, on VAE-GAN and crVAE-GAN + MI of `table`."""
    made, images, data = results.emptied(training.RUNS / f"report-{name}"), STAGE2_IMAGES[budget], STAGE2_DATA[table]
    runs: list[str] = []
    for row, stage1 in pair(piece, budget, table).items():
        both = []
        for recipe in ("emoji-stage2-128", "emoji-stage2-128-plain"):
            run = training.RUNS / f"{Path(data).name}-{recipe}-on-{row}-{images // 1000}k"
            training.finish(piece, run, images, recipe, "--stage1", str(stage1), "--data", data)
            both.append(str(run))
        words = (*both, "--data", data, "--out", str(made / f"{row}.png"))
        scored = subprocess.run([sys.executable, STAGE2_SCORES, *words], stdout=subprocess.PIPE, text=True, check=True)
        write_text(made / f"{row}.json", scored.stdout)
        runs += both
    about = {"title": "Table 1, lower half: Stage2 (Figure 7)", "budget": budget, "images": images}
    results.keep(made, results.RESULTS / name, about | {"runs": results.provenance(runs)})


AFTER_TABLES = {
    "table2": table2,
    "fashion-table2": partial(table2, table="fashion", name="fashion-table2"),
    "avatars-table2": partial(table2, table="avatars", name="avatars-table2"),
    "avatars-eightfold-table2": partial(table2, table="avatars-eightfold", name="avatars-eightfold-table2"),
    "emoji-table2": partial(table2, table="emoji", name="emoji-table2"),
    "paper-table2": partial(table2, table="paper", name="paper-table2"),
    "figure7": figure7,
    "figure7-avatars": partial(figure7, table="avatars", name="figure7-avatars"),
    "figure9": figure9,
}
"""What is made of a table's runs rather than by comparing rows of its own."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m experiments.tables")
    parser.add_argument("names", nargs="+", choices=[*PLANS, *AFTER_TABLES], metavar="NAME")
    parser.add_argument("--budget", choices=["cpu", "gpu"], default="cpu")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="one report for each")
    parser.add_argument("--add", action="store_true", help="to the seeds of the kept report, by the same commands")
    parser.add_argument("--jobs", type=int, default=2, help="rows that train at once, with one thread each")
    parser.add_argument("--minutes", type=float, default=0, help="stop after so long, the same command continues")
    options = parser.parse_args()
    piece = training.Piece(options.minutes)
    try:
        plans = [name for name in options.names if name in PLANS]
        make(plans, options.budget, options.seeds, options.jobs, piece, options.add)
        for name in options.names:
            if name in AFTER_TABLES:
                AFTER_TABLES[name](options.budget, piece)
    except training.OutOfTime:
        sys.exit("time is over; everything is saved. Run the same command again to continue")


if __name__ == "__main__":
    main()
