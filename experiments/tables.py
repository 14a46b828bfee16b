"""The paper's tables and figures, one command each; a second call continues where the first was stopped.

    python -m experiments.tables table1 [--budget cpu|gpu] [--seeds 0 1 2] [--jobs 2] [--minutes M]

Trains what is missing (`crvae train`, one thread for each of `--jobs` rows), then writes docs/results/NAME/ by `crvae compare`:
report.md, report.json, the pictures, and provenance.json (commands, machine, commit, time). table2, figure7 and figure9 use runs of table1.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from PIL import Image

from crvae.files import write_text
from experiments.plans import PLANS, Plan, Row
from experiments.runs import finished

RUNS, RESULTS = Path("runs/tables"), Path("docs/results")
STAGE2_IMAGES, STAGE2_DATA = {"cpu": 10_000, "gpu": 600_000}, "data/emoji128"
STAGE2_SCORES = "benchmarks/stage2_scores.py"
LARGEST = 300_000
"""Bytes of a picture that lasts as it is; of larger ones as many colours are kept, at most 256, as fit."""
CRVAE = (sys.executable, "-m", "crvae")


class OutOfTime(Exception):
    """The minutes are over; what was trained is saved."""


class Piece:
    """The time of one call: children that are still training at its end are stopped, and save."""

    def __init__(self, minutes: float):
        self._deadline = time.monotonic() + 60 * minutes if minutes else float("inf")
        self._lock = threading.Lock()

    def run(self, *words: str, threads: int = 1) -> None:
        """One `crvae` command. Raises OutOfTime if the minutes are over, SystemExit if it fails."""
        self._done(words, threads, None)

    def read(self, *words: str, threads: int = 1) -> str:
        """What a `crvae` command prints on standard output. Raises as `run` does."""
        return self._done(words, threads, subprocess.PIPE)

    def _done(self, words: tuple[str, ...], threads: int, output: int | None) -> str:
        if time.monotonic() > self._deadline:
            raise OutOfTime
        with self._lock:
            print("$ crvae", *words, file=sys.stderr, flush=True)
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        process = subprocess.Popen([*CRVAE, *words], env=environment, stdout=output, text=True)
        try:
            left = self._deadline - time.monotonic()
            said, _ = process.communicate(timeout=None if left == float("inf") else max(0.0, left))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
            process.wait()
            raise OutOfTime from None
        if process.returncode:
            raise SystemExit(process.returncode)
        return said or ""


def folder(row: Row, images: int, seed: int) -> Path:
    """The run of a row: named by what it trains, so that plans share it."""
    words = (row.recipe, *(word.removeprefix("--").replace("objective.", "") for word in row.options))
    return RUNS / f"{'-'.join(words)}-{images // 1000}k-seed{seed}"


def train(piece: Piece, plan: Plan, row: Row, images: int, seed: int) -> None:
    """The row's run, started, or continued if it is not finished."""
    options = ("--train.seed", str(seed), *row.options)
    finish(piece, folder(row, images, seed), images, row.recipe, "--data", plan.data, *options)


def finish(piece: Piece, run: Path, images: int, *words: str) -> None:
    """`crvae train` with these words, for so many images, begun or continued until `run` is trained to its end."""
    if not (run / "config.yaml").exists():
        piece.run("train", *words, "--out", str(run), "--train.images", str(images))
    elif not finished(run):
        piece.run("train", "--resume", str(run))


def classifier(piece: Piece, plan: Plan) -> tuple[str, ...]:
    """The options that name the classifier of inception scores, or of all attributes, trained where it is missing; none
    where it is not needed."""
    if "is" not in plan.scores.split(","):
        return ()
    of_attributes = ("--attributes", "all", "--backbone", "small") if plan.faces else ()
    judge = RUNS / f"classifier-{Path(plan.data).name}"
    if not judge.exists():
        piece.run("classifier", plan.data, "--out", str(judge), *of_attributes, threads=os.cpu_count() or 1)
    return ("--classifier", str(judge))


def make(name: str, budget: str, seeds: list[int], jobs: int, piece: Piece) -> None:
    """Everything of one plan, for each seed."""
    plan = PLANS[name]
    images, rows = plan.images[budget], plan.at(budget)
    work = [(row, seed) for seed in seeds for row in rows]
    RUNS.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(jobs) as pool:
        for done in [pool.submit(train, piece, plan, row, images, seed) for row, seed in work]:
            done.result()
    if plan.faces:
        from experiments import faces

        faces.make(
            plan, name, budget, seeds, piece, {(row.name, seed): folder(row, images, seed) for row, seed in work}
        )
        return
    options = ("--images", str(plan.scored), *classifier(piece, plan))
    for seed in seeds:
        out = RESULTS / (f"{name}-seed{seed}" if seed else name)
        runs = [str(folder(row, images, seed)) for row in rows]
        made = RUNS / f"report-{out.name}"
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
        keep(made, out, {"title": title, "budget": budget, "images": images, "runs": provenance(runs)})


def keep(made: Path, out: Path, about: dict) -> None:
    """Copies what is to last from a comparison to `out`; the page itself stays among the runs."""
    emptied(out)
    for path in made.iterdir():
        if path.suffix == ".png" and path.stat().st_size >= LARGEST:
            fewer_colours(path, out / path.name)
        elif path.suffix in (".md", ".json", ".png"):
            shutil.copyfile(path, out / path.name)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], stdout=subprocess.PIPE, text=True).stdout.strip()
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    about |= {"commit": commit, "machine": machine, "finished": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())}
    write_text(out / "provenance.json", json.dumps(about, indent=1) + "\n")
    print(f"{out}: {about['title']}")


def fewer_colours(source: Path, target: Path) -> None:
    """The picture at `source` below LARGEST bytes, or in 32 colours."""
    image = Image.open(source).convert("RGB")
    for colours in (256, 128, 64, 32):
        image.quantize(colours).save(target, optimize=True)
        if target.stat().st_size < LARGEST:
            return


def provenance(runs: list[str]) -> list[dict]:
    """Of each run its command, its commit, its arithmetic and what it took."""
    found = []
    for run in map(Path, runs):
        environment = json.loads((run / "environment.json").read_text())
        about = {"command": f"crvae {environment['command']}", "commit": environment["commit"]}
        seconds = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["seconds"]
        found.append(about | {"precision": environment["precision"], "seconds": seconds})
    return found


def pair(piece: Piece, budget: str, table: str = "table1") -> dict[str, Path]:
    """A table's crVAE-GAN + MI and its dense control, trained: row name -> run."""
    plan = PLANS[table]
    images = plan.images[budget]
    rows = [row for name in ("crvae-gan-mi", "vae-gan") for row in plan.at(budget) if row.name == name]
    for row in rows:
        train(piece, plan, row, images, 0)
    return {row.name: folder(row, images, 0) for row in rows}


def emptied(path: Path) -> Path:
    """`path`, a folder with nothing in it."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def table2(budget: str, piece: Piece, table: str = "table1", name: str = "table2") -> None:
    """Table 2 by the automatic judge: crVAE-GAN + MI against VAE-GAN, both of `table`; written to the results as `name`."""
    from experiments.completion import judge

    plan, runs = PLANS[table], [str(run) for run in pair(piece, budget, table).values()]
    _, judging = classifier(piece, plan)
    work = RUNS / f"{name}-{budget}"
    work.mkdir(parents=True, exist_ok=True)
    judge(*runs, plan.data, judging, work, plan.search)
    made = emptied(work / "report")
    shutil.copyfile(work / "judge.json", made / "judge.json")
    about = {"title": "Table 2 by the automatic judge", "budget": budget, "runs": provenance(runs)}
    keep(made, RESULTS / name, about)


def figure9(budget: str, piece: Piece) -> None:
    """Figure 9: block after block, of table1's crVAE-GAN + MI and of its VAE-GAN as the control."""
    made, models = emptied(RUNS / "report-figure9"), pair(piece, budget)
    for name, run in models.items():
        piece.run("traverse", str(run), "progressive", "--out", str(made / f"{name}.png"))
    runs = provenance([str(run) for run in models.values()])
    keep(made, RESULTS / "figure9", {"title": "Figure 9: progressive sampling", "budget": budget, "runs": runs})


def figure7(budget: str, piece: Piece) -> None:
    """Table 1, lower half: Stage2 with and without perceptual loss, on table1's VAE-GAN and crVAE-GAN + MI."""
    made, images = emptied(RUNS / "report-figure7"), STAGE2_IMAGES[budget]
    runs: list[str] = []
    for name, stage1 in pair(piece, budget).items():
        both = []
        for recipe in ("emoji-stage2-128", "emoji-stage2-128-plain"):
            run = RUNS / f"{recipe}-on-{name}-{images // 1000}k"
            finish(piece, run, images, recipe, "--stage1", str(stage1), "--data", STAGE2_DATA)
            both.append(str(run))
        words = (*both, "--data", STAGE2_DATA, "--out", str(made / f"{name}.png"))
        scored = subprocess.run([sys.executable, STAGE2_SCORES, *words], stdout=subprocess.PIPE, text=True, check=True)
        write_text(made / f"{name}.json", scored.stdout)
        runs += both
    about = {"title": "Table 1, lower half: Stage2 (Figure 7)", "budget": budget, "images": images}
    keep(made, RESULTS / "figure7", about | {"runs": provenance(runs)})


AFTER_TABLES = {
    "table2": table2,
    "fashion-table2": partial(table2, table="fashion", name="fashion-table2"),
    "avatars-table2": partial(table2, table="avatars", name="avatars-table2"),
    "figure7": figure7,
    "figure9": figure9,
}
"""What is made of the runs of table1, fashion or avatars rather than by comparing rows of its own."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m experiments.tables")
    parser.add_argument("name", choices=[*PLANS, *AFTER_TABLES])
    parser.add_argument("--budget", choices=["cpu", "gpu"], default="cpu")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="one report for each")
    parser.add_argument("--jobs", type=int, default=2, help="rows that train at once, with one thread each")
    parser.add_argument("--minutes", type=float, default=0, help="stop after so long, the same command continues")
    options = parser.parse_args()
    piece = Piece(options.minutes)
    try:
        if options.name in AFTER_TABLES:
            AFTER_TABLES[options.name](options.budget, piece)
        else:
            make(options.name, options.budget, options.seeds, options.jobs, piece)
    except OutOfTime:
        sys.exit("time is over; everything is saved. Run the same command again to continue")


if __name__ == "__main__":
    main()
