"""Commands are killed at any moment: what has its final name is whole, and the same command can be typed again."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from crvae.cli import main
from reference.commands import NEW, RESUMED

KILLS = int(os.environ.get("KILLS", "4"))
"""Of each command, all of them before its end; `make torture` has more."""

PATIENCE = 240.0
"""Seconds in which an undisturbed command ends."""

FILE_BY_FILE = ("traverse profile", "study report")
"""They write files into a folder that is there: each is whole, and some may be missing."""


def hashes(folder: Path) -> dict[str, str]:
    """Path -> hash of every file, but for those under a hidden name."""
    files = (path for path in folder.rglob("*") if path.is_file())
    names = {path: path.relative_to(folder) for path in files}
    return {
        str(name): hashlib.sha256(path.read_bytes()).hexdigest()
        for path, name in names.items()
        if not any(part.startswith(".") for part in name.parts)
    }


def clear(folder: Path) -> None:
    """Removes what has a final name, and leaves what a kill has left for the next command to meet."""
    for path in folder.iterdir():
        if not path.name.startswith("."):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def timed(args: list[str], seconds: float) -> tuple[float, bool]:
    """Lets a command work for some seconds, in a process forked from this one that has everything imported, then kills it.

    Returns the seconds that it worked, and whether it came to its end before.
    """
    begun = time.monotonic()
    child = os.fork()
    if child == 0:
        code = 70
        with contextlib.suppress(BaseException):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            code = main(args)
        os._exit(code)
    until = begun + seconds
    ended, status = os.waitpid(child, os.WNOHANG)
    while not ended and (left := until - time.monotonic()) > 0:
        time.sleep(min(left, 0.01))
        ended, status = os.waitpid(child, os.WNOHANG)
    if not ended:
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    took, ended = time.monotonic() - begun, not os.WIFSIGNALED(status)
    assert not ended or os.WEXITSTATUS(status) == 0, f"exit code {os.WEXITSTATUS(status)}: {' '.join(args)}"
    return took, ended


@pytest.mark.parametrize("kind", [kind for kind in NEW if kind not in RESUMED])
def test_kills_at_any_moment(kind, words, tmp_path, capsys):
    """Training's own kills are in `tests/training/test_training_kill.py`."""
    out = tmp_path / "out"
    out.mkdir()
    args = words(kind, out)
    assert main(args) == 0  # and so everything is imported
    whole = hashes(out)
    clear(out)
    lasts, ended = timed(args, PATIENCE)
    assert ended
    same = {name: value for name, value in hashes(out).items() if whole[name] == value}
    clear(out)
    chance, hits, tries, begun = random.Random(f"{kind} {KILLS}"), 0, 0, time.perf_counter()
    while hits < KILLS:
        seconds, ended = timed(args, chance.uniform(0, 1.1 * lasts))
        lasts = seconds if ended else 1.02 * lasts  # the machine may be busier or quieter than it was
        hits += not ended
        tries += 1
        found = hashes(out)
        if kind not in FILE_BY_FILE and any(not path.name.startswith(".") for path in out.iterdir()):
            assert set(found) == set(whole)
        assert set(found) <= set(whole)
        assert all(found[name] == value for name, value in same.items() if name in found)
        clear(out)
    each = (time.perf_counter() - begun) / hits
    assert timed(args, PATIENCE)[1]
    assert set(hashes(out)) == set(whole)
    assert not [path.name for path in out.iterdir() if path.name.startswith(".")]
    with capsys.disabled():
        print(f"{kind}: {hits} kills before its end, of {tries}; {lasts:.2f} s undisturbed, {each:.2f} s a kill")
