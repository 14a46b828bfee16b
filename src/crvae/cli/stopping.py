"""Ctrl-C and SIGTERM while a command works, its imports included: one sentence, exit code 130 or 143, nothing half-written."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from crvae import files

_advice: list[tuple[str, Path | None]] = []
"""How to continue with what an interrupted command leaves, and where that must lie."""


class Stopped(KeyboardInterrupt):
    """A signal asked to stop."""

    def __init__(self, number: int):
        super().__init__(number)
        self.code = 128 + number


@contextlib.contextmanager
def stoppable(name: str, *, last: bool) -> Iterator[None]:
    """Within it, SIGINT and SIGTERM raise Stopped; while something is imported, and the second time, they end the process.

    An exception that is raised in the middle of an import can be swallowed there, or kill the process in foreign code. Foreign
    code may also put an exception of its own in its place: after a signal every exception is taken for Stopped.
    `last`: the process ends afterwards, and no signal disturbs that.
    """
    asked = 0
    files.forget()
    _advice.clear()

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if not asked and not _importing(frame):
            asked = number
            raise Stopped(number)
        for other in before:
            signal.signal(other, signal.SIG_IGN)
        _end(name, number)

    before = {}
    with contextlib.suppress(ValueError):  # not the main thread: whoever runs us handles signals
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        for number in before:
            signal.signal(number, stop)
    try:
        yield
    except Exception as error:
        if asked:
            raise Stopped(asked) from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if last else handler or signal.SIG_DFL)


def advise(how: str, place: Path | None = None) -> None:
    """Says how to continue with what this command leaves if it is interrupted from now on, once there is something at `place`."""
    _advice.append((how, place))


def farewell(name: str, code: int) -> tuple[str, int]:
    """What an interrupted command says, and its exit code: 0 where the folder that it was to make is whole."""
    if whole := files.complete():
        return f"crvae: {whole[-1]} was complete before the signal came", 0
    for how, place in _advice:
        if place is None or place.exists():
            return f"crvae: interrupted{how}", code
    return f"crvae: {name} was interrupted; nothing half-written is left, and the same command can be typed again", code


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _end(name: str, number: int) -> None:
    """Ends this process and its children now, after removing what is unfinished."""
    if "multiprocessing.process" in sys.modules:
        for child in sys.modules["multiprocessing.process"].active_children():
            child.kill()
    files.abandon()
    clean = "\r\x1b[K\x1b[?25h" if sys.stderr.isatty() else ""  # a progress bar stands there, and hides the cursor
    said, code = farewell(name, 128 + number)
    os.write(2, f"{clean}{said}\n".encode())
    os._exit(code)
