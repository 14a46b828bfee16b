"""Ctrl-C and SIGTERM at any moment of any command, its imports included: one sentence, the right code, nothing half-written."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crvae import files
from crvae.cli import main, stopping
from crvae.cli.stopping import Stopped, stoppable
from processes import PATIENCE, Command
from reference.commands import CONTINUED, READING, RESUMED, WRITING

SIGNALS = [signal.SIGINT, signal.SIGTERM]


class Fresh:
    """A command in a process that imports everything, with the same methods as `Command`."""

    def __init__(self, args: list[str], log: Path):
        self.log = log
        with log.open("wb") as file:
            words = [sys.executable, "-m", "crvae", *args]
            self.process = subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT, env=os.environ)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        return self.process.wait(PATIENCE)

    def said(self) -> str:
        return self.log.read_text()


def listens(pid: int) -> bool:
    """Whether a process has the command's handler of signals: before that, Python itself is starting."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    caught = int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16)  # type: ignore[index]
    return all(caught & 1 << (number - 1) for number in SIGNALS)


def stop(start: type, kind: str, args: list[str], number: int, seconds: float, out: Path, log: Path) -> None:
    """Starts a command, stops it some seconds after it listens, and checks what it says and leaves.

    What it has made is removed where the command ended first.
    """
    command = start(args, log)
    deadline = time.monotonic() + PATIENCE
    while not listens(command.process.pid) and time.monotonic() < deadline:
        time.sleep(0.002)
        if (command.process.poll() if start is Fresh else command.process.exitcode) is not None:
            break
    time.sleep(seconds)
    with contextlib.suppress(ProcessLookupError):  # it was faster
        command.signal(number)
    code, said = command.wait(), command.said()
    assert "Traceback" not in said, said
    assert code in (0, 128 + number), f"{code}: {said}"
    shown = {path.name for path in out.iterdir() if not path.name.startswith(".")}
    hidden = {path.name for path in out.iterdir()} - shown
    assert not hidden or kind in CONTINUED, hidden
    if code == 0:
        for name in shown:
            shutil.rmtree(out / name) if (out / name).is_dir() else (out / name).unlink()
        return
    stops = [line for line in said.splitlines() if re.match("crvae: .*(interrupted|stopped by)", line)]
    assert len(stops) == 1, said
    if kind in RESUMED:
        assert "--resume" in stops[0] or "can be typed again" in stops[0]
    else:
        assert "can be typed again" in stops[0] or (kind in CONTINUED and "the same command again" in stops[0])
        assert not shown or (out / shown.pop()).is_file(), said  # a file has its name only when it is whole


def again(kind: str, args: list[str], out: Path) -> list[str]:
    """What a user types after an interruption."""
    run = out / "new"
    return ["train", "--resume", str(run)] if kind in RESUMED and run.exists() else args


def survive(kind: str, number: int, moments: list[tuple[type, float]], words, lay, folder: Path) -> None:
    """Stops a command at each of `moments`, and then lets it work to its end."""
    out = folder / "out"
    out.mkdir()
    for place, (start, seconds) in enumerate(moments):
        lay(kind, out)
        stop(start, kind, again(kind, words(kind, out), out), number, seconds, out, folder / f"{place}.log")
    lay(kind, out)
    assert main(again(kind, words(kind, out), out)) == 0
    if kind in WRITING:
        assert len({path.stem for path in out.iterdir()}) == 1


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("kind", [*WRITING, *READING])
def test_an_interrupted_command_can_be_typed_again(kind, number, words, lay, tmp_path):
    """In a process that is forked from one with torch imported, so that all commands have their turn."""
    seconds = random.Random(f"{kind} {number}").uniform(0, 1)
    survive(kind, number, [(Command, seconds)], words, lay, tmp_path)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_imports_can_be_interrupted(number, words, lay, tmp_path):
    """In a fresh process, while it imports."""
    survive("sample", number, [(Fresh, random.Random(number).uniform(0, 2))], words, lay, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("kind", [*WRITING, *READING])
def test_ten_moments_of_every_command(kind, number, words, lay, tmp_path):
    """`make torture`: three moments of a fresh process, and seven of the work itself."""
    chance = random.Random(f"{kind} {number}")
    moments = [(Fresh, chance.uniform(0, 5)) for _ in range(3)] + [(Command, chance.uniform(0, 2)) for _ in range(7)]
    survive(kind, number, moments, words, lay, tmp_path)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_an_exception_of_foreign_code_after_a_signal_is_still_the_signal(number):
    """torch once put a ValueError in the place of the exception that the handler had raised."""

    def replaced() -> None:
        with stoppable("sample", last=False):
            try:
                signal.raise_signal(number)
            except KeyboardInterrupt:
                raise ValueError("could not determine the shape") from None

    with pytest.raises(Stopped) as caught:
        replaced()
    assert caught.value.code == 128 + number
    with pytest.raises(ValueError, match="its own"), stoppable("sample", last=False):
        raise ValueError("its own")


def interrupted(number: int, work, capsys, monkeypatch) -> tuple[int, str]:
    """What the command `sample` says and returns if `work` is what it does, and raises the signal somewhere in it."""
    monkeypatch.setattr("crvae.cli._run", lambda name, args: work())
    code = main(["sample"])
    return code, capsys.readouterr().err


@pytest.mark.parametrize("moment", ["os.replace", "after", "ends at once"])
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_folder_that_is_whole_is_said_to_be(number, moment, tmp_path, capsys, monkeypatch):
    """A signal can come with the very rename: its handler runs before the next line."""
    replace, ended = os.replace, []

    def rename(*names):
        replace(*names)
        if moment == "os.replace":
            signal.raise_signal(number)

    def work():
        with files.new_folder(tmp_path / "new") as folder:
            (folder / "a.png").write_bytes(b"a")
        if moment == "ends at once":
            monkeypatch.setattr("crvae.cli.stopping._importing", lambda frame: True)
            monkeypatch.setattr(os, "_exit", lambda code: (ended.append(code), sys.exit(code)))
        signal.raise_signal(number)

    monkeypatch.setattr(os, "replace", rename)
    if moment == "ends at once":
        said: list[bytes] = []
        monkeypatch.setattr(os, "write", lambda _, text: said.append(text))
        with pytest.raises(SystemExit):
            interrupted(number, work, capsys, monkeypatch)
        assert ended == [0]
        assert b"was complete before the signal came" in said[0]
    else:
        assert interrupted(number, work, capsys, monkeypatch) == (
            0,
            f"crvae: {tmp_path / 'new'} was complete before the signal came\n",
        )
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.png"]


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_folder_in_which_work_goes_on_is_not_complete(number, tmp_path, capsys, monkeypatch):
    run = tmp_path / "run"

    def work():
        stopping.advise("; go on with it", run)
        with files.new_folder(run, begun=True):
            pass
        signal.raise_signal(number)

    assert interrupted(number, work, capsys, monkeypatch) == (128 + number, "crvae: interrupted; go on with it\n")
    shutil.rmtree(run)
    code, said = interrupted(number, lambda: signal.raise_signal(number), capsys, monkeypatch)
    assert code == 128 + number
    assert "can be typed again" in said  # another command, which left nothing


@pytest.mark.parametrize("old", [False, True], ids=["new", "old"])
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_several_files_are_all_written_or_none(number, old, tmp_path, capsys, monkeypatch):
    """A signal at the first rename of several files: they are all new, or all as before, and nothing is left beside them."""
    out, replace = tmp_path / "out", os.replace
    names = ["a.txt", "b.txt", "c.txt"]
    if old:
        out.mkdir()
        for name in names:
            (out / name).write_text("old")

    def rename(*places):
        replace(*places)
        signal.raise_signal(number)

    monkeypatch.setattr(os, "replace", rename)
    code, said = interrupted(number, lambda: files.write_files(out, dict.fromkeys(names, b"new")), capsys, monkeypatch)
    assert code == (128 + number if old or not out.exists() else 0), said
    assert not out.exists() or {path.name: path.read_text() for path in out.iterdir()} == dict.fromkeys(names, "new")
    assert not list(tmp_path.glob(".*"))
