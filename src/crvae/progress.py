"""What long work tells while it runs: bars on a terminal, a line every 30 seconds elsewhere, both with the time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TypeVar

Progress = Callable[[str, int, int], None]
"""Told what is being done, how many parts of it are done, and of how many."""

Part = TypeVar("Part", bound=Sized)

QUIET_SECONDS = 30.0
"""Where standard error is no terminal, a line at most this often."""


def silent(what: str, done: int, total: int) -> None:
    """Tells nothing."""


@contextmanager
def progress() -> Iterator[Progress]:
    """Yields a Progress that writes to standard error; each `what` is a bar of its own."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines()
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    tasks = {}
    with Bars(*columns, console=console) as bars:

        def advance(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield advance


def told(parts: Iterable[Part], what: str, total: int, progress: Progress) -> Iterator[Part]:
    """`parts`, batches of a known `total`, each of them counted when the next one is asked for."""
    done = 0
    progress(what, done, total)
    for part in parts:
        yield part
        done += len(part)
        progress(what, done, total)


class _Lines:
    """A line now and then."""

    def __init__(self) -> None:
        self._spoken = time.monotonic()
        self._begun: dict[str, tuple[float, int]] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        begun, first = self._begun.setdefault(what, (now, done))
        if now - self._spoken > QUIET_SECONDS:
            self._spoken = now
            left = f", {duration((now - begun) * (total - done) / (done - first))} left" if done > first else ""
            print(f"{what}: {done:,} of {total:,}{left}", file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """`40 seconds`, `12 minutes`, `3.5 hours`."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
