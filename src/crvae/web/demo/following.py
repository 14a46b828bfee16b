"""Long work whose progress is shown while it goes on, and which ends soon after nobody looks any more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

Tell = Callable[[int, int], None]
"""Told the steps done, and the most that there can be."""


@dataclass(frozen=True)
class Step:
    """So much of it is done."""

    done: int
    most: int


@dataclass(frozen=True)
class Result:
    """What the work gave."""

    value: Any


class _AbandonedError(Exception):
    """Nobody waits for the result."""


def follow(work: Callable[[Tell], Any]) -> Iterator[Step | Result]:
    """Runs `work` in a thread: gives its steps as it tells them, and last its result. Raises what `work` raises.

    Where the iterator is closed before the end, `work` ends at the next step that it tells.
    """
    said: SimpleQueue[Step | Result | Exception] = SimpleQueue()
    left = threading.Event()

    def tell(done: int, most: int) -> None:
        if left.is_set():
            raise _AbandonedError
        said.put(Step(done, most))

    def run() -> None:
        try:
            said.put(Result(work(tell)))
        except Exception as error:
            said.put(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while True:
            heard = said.get()
            if isinstance(heard, Exception):
                raise heard
            yield heard
            if isinstance(heard, Result):
                return
    finally:
        left.set()
        thread.join()
