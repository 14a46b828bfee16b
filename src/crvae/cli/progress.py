"""A progress bar on standard error for work that counts its parts; a line now and then where that is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

QUIET_SECONDS = 20.0
"""Where standard error is no terminal, a line at most this often."""


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """Yields `advance(what, done, total)`; each `what` is a bar of its own."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    tasks = {}
    spoken = time.monotonic()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:

        def advance(what: str, done: int, total: int) -> None:
            nonlocal spoken
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done)
            if not console.is_terminal and time.monotonic() - spoken > QUIET_SECONDS:
                spoken = time.monotonic()
                print(f"{what}: {done:,} of {total:,}", file=sys.stderr, flush=True)

        yield advance
