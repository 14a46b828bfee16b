"""What long work tells while it runs: bars on a terminal and in a notebook, a line every 30 seconds elsewhere, with the time left."""

from __future__ import annotations

import importlib
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from html import escape
from typing import Any, TypeVar

Progress = Callable[[str, int, int], None]
"""Told what is being done, how many parts of it are done, and of how many."""

Part = TypeVar("Part", bound=Sized)

RENEWED_SECONDS = 1.0
"""On a terminal, work that cannot be counted says so as often."""

BAR = 30
"""Characters of a bar that rich does not draw."""

QUIET_SECONDS = 30.0
"""Where standard error is not a terminal, a line at most this often."""

REDRAW_SECONDS = 0.5
"""A notebook's bar is redrawn at most this often."""


def silent(what: str, done: int, total: int) -> None:
    """Tells nothing."""


@contextmanager
def progress() -> Iterator[Progress]:
    """Yields a Progress that writes to standard error, or shows bars in a notebook; each `what` is a bar of its own."""
    if in_notebook():
        shown: defaultdict[str, NotebookBar] = defaultdict(NotebookBar)
        yield lambda what, done, total: shown[what].update(what, done, total)
        return
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


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


class NotebookBar:
    """One bar in a notebook's output, without widgets, so that it is also there when the notebook is opened again."""

    def __init__(self) -> None:
        self._ipython = importlib.import_module("IPython.display")  # installed wherever a notebook runs, and only there
        self._display: Any = None
        self._drawn = float("-inf")
        self._begun: tuple[float, float] | None = None

    def update(self, what: str, done: float, total: float, note: str = "") -> None:
        """Draws the bar with `what` before it, and `note` and the time left after it."""
        now = time.monotonic()
        begun, first = self._begun = self._begun or (now, done)
        if now - self._drawn < REDRAW_SECONDS and done < total:
            return
        self._drawn = now
        left = duration((now - begun) * (total - done) / (done - first)) + " left" if first < done < total else ""
        count = note or f"{done:,} of {total:,}"
        words = ", ".join(part for part in (count, left or (duration(now - begun) if done >= total else "")) if part)
        page = self._ipython.HTML(
            f'{escape(what)} <progress value="{done}" max="{max(total, 1)}" style="width: 16em"></progress> {escape(words)}'
        )
        if self._display is None:
            self._display = self._ipython.display(page, display_id=True)
        else:
            self._display.update(page)


@contextmanager
def waiting(what: str, seconds: float = 0.0) -> Iterator[None]:
    """Tells that `what` goes on while the block runs, for work that cannot be counted; of about `seconds`, where that is known.

    On a terminal one line, renewed every second and gone at the end; elsewhere a line every 30 seconds.
    """
    begun, over, terminal = time.monotonic(), threading.Event(), sys.stderr.isatty()

    def tell() -> None:
        while not over.wait(RENEWED_SECONDS if terminal else QUIET_SECONDS):
            text = _waited(what, time.monotonic() - begun, seconds)
            print(f"\r{text}\x1b[K" if terminal else text, end="" if terminal else "\n", file=sys.stderr, flush=True)

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()
        if terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _waited(what: str, passed: float, seconds: float) -> str:
    """`loading, 3 seconds`; with a bar and the time left where the whole is known."""
    if not seconds:
        return f"{what}, {duration(passed)}"
    full = min(BAR, int(BAR * passed / seconds))
    return f"{what} {'━' * full}{' ' * (BAR - full)} at most {duration(max(0.0, seconds - passed))} left"


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
