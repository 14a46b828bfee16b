"""What long work says while it runs: in a pipe a line now and then, on a terminal one line that is gone afterwards."""

from __future__ import annotations

import io
import sys
import time

import pytest

from crvae import progress as module
from crvae.progress import progress, waiting


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def soon(monkeypatch):
    monkeypatch.setattr(module, "QUIET_SECONDS", 0.01)
    monkeypatch.setattr(module, "RENEWED_SECONDS", 0.01)


def until(said, what: str) -> str:
    """Waits until `said()` holds `what`, and returns it."""
    deadline = time.monotonic() + 60
    while what not in said() and time.monotonic() < deadline:
        time.sleep(0.005)
    return said()


@pytest.mark.parametrize(("seconds", "line"), [(0.0, "loading, 0 seconds"), (600.0, "at most 10 minutes left")])
def test_waiting_in_a_pipe(seconds, line, soon, monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with waiting("loading", seconds):
        until(stream.getvalue, "\n")
    assert line in stream.getvalue().splitlines()[0]
    assert "\r" not in stream.getvalue()
    after = stream.getvalue()
    time.sleep(0.03)
    assert stream.getvalue() == after


def test_waiting_on_a_terminal_leaves_an_empty_line(soon, monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with waiting("loading"):
        until(stream.getvalue, "loading")
    assert stream.getvalue().endswith("\r\x1b[K")
    assert "\n" not in stream.getvalue()


def test_what_ends_at_once_says_nothing(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with waiting("loading"):
        pass
    assert stream.getvalue() == ""


def test_counted_work_says_how_much_is_left(soon, monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress() as advance:
        advance("decoding", 0, 4)
        time.sleep(0.02)
        advance("decoding", 2, 4)
    assert stream.getvalue() == "decoding: 2 of 4, 0 seconds left\n"


def test_cost_tells_that_it_measures():
    from crvae.evaluation.cost import cost
    from crvae.recipes import named

    told: list[tuple[str, int, int]] = []
    config = named("emoji-vae").config
    config = config.model_copy(update={"model": config.model.model_copy(update={"size": 32, "width": 1})})
    cost(config, limit=2, quick=True, progress=lambda *told_now: told.append(told_now))
    assert len(told) > 2
    assert all(what == "measuring" and 0 <= done <= total for what, done, total in told)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
