"""The runs of experiments: trained by `crvae` commands, continued where they were stopped, found finished."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from crvae.data import open_data
from crvae.data.request import CORES
from crvae.training import checkpoint
from crvae.training.launch import STAGES
from crvae.training.prior_stage import CHECKPOINTS as PRIOR
from crvae.training.prior_stage import has_prior_stage
from crvae.training.run import Run
from experiments.plan import Plan, Row

RUNS = Path("runs/tables")
KEPT = Path("docs/results/classifiers")
"""Classifiers small enough to last: a folder each, called as the prepared data."""
CRVAE = (sys.executable, "-m", "crvae")
_JUDGING = threading.Lock()
"""Held while a classifier is trained, so that whoever needs it next waits for it."""


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


def folder(plan: Plan, row: Row, images: int, seed: int) -> Path:
    """The run of a row: named by what it trains on what, so that plans share it."""
    words = (row.recipe, *(word.removeprefix("--").replace("objective.", "") for word in row.options))
    return RUNS / f"{Path(plan.data).name}-{'-'.join(words)}-{images // 1000}k-seed{seed}"


def train(piece: Piece, plan: Plan, row: Row, images: int, seed: int) -> None:
    """The row's run, started, or continued if it is not finished."""
    options = ("--train.seed", str(seed), *row.options)
    finish(piece, folder(plan, row, images, seed), images, row.recipe, "--data", plan.data, *options)


def finish(piece: Piece, run: Path, images: int, *words: str) -> None:
    """`crvae train` with these words, for so many images, begun or continued until `run` is trained to its end.

    It then keeps its weights and not its training states, which are ten times as large.
    """
    if not (run / "config.yaml").exists():
        piece.run("train", *words, "--out", str(run), "--train.images", str(images))
    elif not finished(run):
        piece.run("train", "--resume", str(run))
    for states in (Run(run).checkpoints, run / PRIOR):
        for state in checkpoint.existing(states):
            shutil.rmtree(state)


def classifier(piece: Piece, plan: Plan) -> tuple[str, ...]:
    """The options that name the classifier of inception scores, or of all attributes, trained where it is missing; none
    where it is not needed. One that is kept among the results is taken: scores of two classifiers cannot be compared."""
    if "is" not in plan.scores.split(","):
        return ()
    judge = _kept(plan.data) or RUNS / f"classifier-{Path(plan.data).name}"
    with _JUDGING:
        if not judge.exists():
            piece.run("classifier", plan.data, "--out", str(judge), *plan.judge, threads=CORES)
    return ("--classifier", str(judge))


def _kept(data: str) -> Path | None:
    """The classifier among the results that was trained on these very images, if there is one."""
    folder = KEPT / Path(data).name
    if not folder.exists():
        return None
    trained_on = json.loads((folder / "config.json").read_text())["classifier"]["data"]
    return folder if trained_on == open_data(data).fingerprint else None


def traversed(piece: Piece, plan: Plan, run: Path, walk: str) -> Path:
    """The folder of `crvae traverse RUN attributes` or `rate` on the plan's data, made where it is missing."""
    out = RUNS / f"{walk}-{run.name}"
    if not out.exists():
        words = (walk, "--data", plan.data, *classifier(piece, plan))
        piece.run("traverse", str(run), *words, "--out", str(out))
    return out


def finished(folder: Path) -> bool:
    """Whether the run in `folder` is trained to its end, its prior included where it has one.

    Its last snapshot tells: `crvae train` writes it after all else. Raises UserError if the run cannot be read.
    """
    run = Run(folder)
    config = run.config(STAGES)
    phases = [config.train]
    if has_prior_stage(config):
        phases.append(config.prior.schedule(config.train))
    return (run.samples / f"{sum(phase.seen for phase in phases):012d}.png").is_file()
