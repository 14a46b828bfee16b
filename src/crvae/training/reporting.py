"""What training tells: a progress bar, metrics.jsonl, curves and pictures in its logs, warnings in words."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

from crvae.progress import NotebookBar, in_notebook
from crvae.training.diagnosis import diagnose
from crvae.training.logs import open_logs
from crvae.training.ranks import mean_over_ranks
from crvae.training.run import Run
from crvae.training.stage import Stage

QUIET_SECONDS = 20.0
"""Where standard error is not a terminal, a line of progress at most this often."""


class Meter:
    """Means of named terms since the last report, each over the steps that had it; stays on the device until it is read."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._steps: dict[str, int] = {}

    def add(self, terms: dict[str, Tensor]) -> None:
        for name, term in terms.items():
            self._sums[name] = self._sums[name] + term if name in self._sums else term
            self._steps[name] = self._steps.get(name, 0) + 1

    def take(self) -> dict[str, Any]:
        """The means as numbers, over all ranks; starts anew."""
        means = {name: mean_over_ranks(total / self._steps[name]).tolist() for name, total in self._sums.items()}
        self._sums, self._steps = {}, {}
        return means

    def culprit(self) -> str:
        """The name of a term whose sum is not finite on some rank; the gradient where all are. Call it on all ranks."""
        for name, total in self._sums.items():
            if mean_over_ranks(torch.isfinite(total).all().float()) < 1:
                return f"the term {name!r}"
        return "a gradient"


class Reporter:
    """Progress of one run on rank 0; silent on the others."""

    def __init__(self, run: Run | None, stage: Stage, images: int):
        """`images`: seen by this stage so far. The bar counts the work of all the run's stages, so that its time left is the run's."""
        self.run, self._part = run, stage.part
        self._start_images = images
        self._total = stage.schedule.seen
        self._started = time.monotonic()
        self._said: set[str] = set()
        self._spoken = self._started
        self._seconds = 0.0
        if run is None:
            return
        past = run.reports()
        self._seconds = past[-1]["seconds"] if past else 0.0
        self.console = Console(stderr=True)
        schedule, config = stage.schedule, stage.config.model_dump()
        self._logs = open_logs(schedule.log, run.folder, self._part.before + images, config)
        self._progress = Progress(
            TextColumn(stage.part.title), BarColumn(), TextColumn(f"{{task.fields[seen]:,}} of {self._total:,} {stage.part.counted}"),
            TextColumn("{task.fields[rate]:,.0f}/s"), TimeElapsedColumn(), TimeRemainingColumn(),
            console=self.console, disable=not self.console.is_terminal,
        )  # fmt: skip
        self._task = self._progress.add_task(
            "", total=self._work(self._total) + stage.part.later, completed=self._work(images), seen=images, rate=0.0
        )
        self._bar = NotebookBar() if in_notebook() else None
        self._rate = 0.0

    def __enter__(self) -> Reporter:
        if self.run is not None:
            self._progress.start()
        self._since = (self._started, self._start_images)
        return self

    def __exit__(self, *_: object) -> None:
        if self.run is not None:
            self._progress.stop()
            for log in self._logs:
                log.close()

    def advance(self, images: int) -> None:
        if self.run is None:
            return
        if not self._progress.disable:
            self._progress.update(self._task, completed=self._work(images), seen=images)
        if self._bar is not None:
            rate = f", {self._rate:.0f}/s" if self._rate else ""
            note = f"{images:,} of {self._total:,} {self._part.counted}{rate}"
            self._bar.update(self._part.title, self._work(images), self._work(self._total) + self._part.later, note)

    def report(self, images: int, terms: dict[str, Any], rates: dict[str, float]) -> None:
        """One line of metrics.jsonl, the same for the logs, and a warning for whatever looks wrong."""
        if self.run is None:
            return
        now = time.monotonic()
        then, images_then = self._since
        speed = (images - images_then) / max(now - then, 1e-9)
        self._since = (now, images)
        seconds = self._seconds + now - self._started
        line = {
            "images": self._part.before + images,
            "seconds": round(seconds, 3),
            "images_per_second": round(speed, 2),
        }
        line |= terms | {"learning_rate": rates}
        self.run.report(line)
        values = {}
        for name, value in (terms | {"images_per_second": speed}).items():
            values |= (
                {f"{name}/{step}": part for step, part in enumerate(value, 1)}
                if isinstance(value, list)
                else {name: value}
            )
        for log in self._logs:
            log.scalars(values, line["images"])
        self._rate = speed
        self._progress.update(self._task, completed=self._work(images), seen=images, rate=speed)
        for name, sentence in diagnose(line).items():
            if name not in self._said:
                self._said.add(name)
                self.console.print(f"[yellow]at {images:,} images:[/] {sentence}", highlight=False)
        if (
            self._progress.disable
            and self._bar is None
            and (now - self._spoken > QUIET_SECONDS or images >= self._total)
        ):
            self._spoken = now
            left = (max(self._total - images, 0) + self._part.later / self._part.cost) / max(speed, 1e-9)
            name = self._part.headline
            print(
                f"{images:,} of {self._total:,} {self._part.counted}, {speed:.0f}/s, {left / 60:.1f} minutes left,"
                f" {name} {terms.get(name, float('nan')):.4f}",
                file=self.console.file,
                flush=True,
            )

    def picture(self, path: Path | None) -> None:
        """A grid of samples for the logs, if one was written."""
        if self.run is not None and path is not None:
            for log in self._logs:
                log.picture(path, int(path.stem))

    def _work(self, images: int) -> int:
        """What the run has done after so many of this stage's images, in images of its first stage."""
        return round(self._part.before + self._part.cost * images)
