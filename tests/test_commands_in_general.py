"""What holds for every command: its help, its complaints about options, and that it leaves nothing where it cannot write or is stopped."""

from __future__ import annotations

import contextlib
import io
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from crvae.cli import COMMANDS, main

SUBCOMMANDS = [
    *([name] for name in COMMANDS if name not in ("study", "train")),
    ["study", "create"], ["study", "serve"], ["study", "report"], ["train", "emoji-vae"],
]  # fmt: skip

WRITING = {
    "sample": "sample RUN --count 3 --out OUT/new",
    "sample, a picture": "sample RUN --count 64 --out OUT/grid.png",
    "reconstruct": "reconstruct RUN --data PICTURES --out OUT/pairs.webp",
    "complete": "complete RUN --images PICTURES --mask upper --restarts 1 --steps 1 --out OUT/new",
    "traverse": "traverse RUN progressive --count 2 --out OUT/walk.gif",
    "traverse profile": "traverse RUN profile --images PICTURES --out OUT/profile.png",
    "encode": "encode RUN --images PICTURES OUT/z.safetensors",
    "encode crz": "encode RUN --images PICTURES OUT/new --format crz",
    "export": "export RUN OUT/new",
    "prepare": "prepare PICTURES OUT/new --size 32 --workers 1",
    "study create": "study create --runs RUN PICTURES --task sample --pairs 2 --out OUT/new",
}
"""Commands that write, each with everything that it needs."""


@pytest.fixture(scope="module")
def words(trained, colour):
    """Fills a line of WRITING in."""

    def fill(line: str, out: Path) -> list[str]:
        places = {"RUN": str(trained), "PICTURES": str(colour.parent / "pictures"), "OUT": str(out)}
        return [re.sub("RUN|PICTURES|OUT", lambda found: places[found[0]], word) for word in line.split()]

    return fill


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A file system of its own; skips where this process may not mount one."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("no right to mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def refused(args: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence of a command that ends with code 2."""
    capsys.readouterr()
    assert main(args) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("crvae: ")]
    assert len(said) == 1, said
    return said[0]


@pytest.mark.parametrize("command", SUBCOMMANDS, ids=" ".join)
def test_help_has_no_names_of_types(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert not stop.value.code
    text = capsys.readouterr().out
    assert not re.search(r"\b(STR|INT|FLOAT|PATH)\b|\{None\}|NoneType", text)
    assert "--help" in text


@pytest.mark.parametrize("command", SUBCOMMANDS, ids=" ".join)
def test_a_misspelt_option_is_named_with_a_near_one(command, capsys):
    with pytest.raises(SystemExit), contextlib.redirect_stdout(io.StringIO()) as text:
        main([*command, "--help"])
    options = re.findall(r"(?<![\w-])--([a-z][a-z0-9.-]{4,})", text.getvalue())
    for option in [option for option in dict.fromkeys(options) if option != "help" and not option.startswith("no-")][
        :3
    ]:
        said = refused([*command, f"--{option}x", "1"], capsys)
        assert f"there is no option --{option}x (did you mean '--" in said
    assert "there is no option --qqqqqq " in refused([*command, "--qqqqqq", "1"], capsys)


@pytest.mark.parametrize("kind", WRITING)
def test_a_full_disk_leaves_nothing(kind, words, tmp_path, capsys):
    with mounted(tmp_path / "full", "size=4k") as out:
        said = refused(words(WRITING[kind], out), capsys)
        assert "No space left" in said
        assert not [path for path in out.rglob("*") if not any(part.startswith(".") for part in path.parts[-2:])]


@pytest.mark.parametrize("kind", WRITING)
def test_a_read_only_folder_is_one_sentence(kind, words, tmp_path, capsys):
    with mounted(tmp_path / "sealed", "size=1m,ro") as out:
        said = refused(words(WRITING[kind], out), capsys)
        assert str(out) in said


@pytest.mark.parametrize("kind", WRITING)
@pytest.mark.parametrize("place", ["/proc", "long"])
def test_places_where_nothing_can_be_made(kind, place, words, tmp_path, capsys):
    line = WRITING[kind]
    if place == "long":
        line = re.sub(r"OUT/(\w+)", f"OUT/{'n' * 300}", line)
    refused(words(line, Path("/proc") if place == "/proc" else tmp_path), capsys)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("kind", ["sample", "encode", "export"])
def test_an_interrupted_command_can_be_typed_again(kind, number, words, tmp_path):
    """At random moments, the imports of a fresh process included."""
    out = tmp_path / "out"
    out.mkdir()
    args = words(WRITING[kind], out)
    for moment in random.Random(f"{kind} {number}").sample(range(4000), 2):
        interrupted(args, number, moment / 1000, out)
    assert main(args) == 0
    assert len(list(out.iterdir())) == 1


def interrupted(args: list[str], number: int, seconds: float, out: Path) -> int:
    """Runs a command, stops it after some seconds, and checks what it says and leaves; its output is removed if it came first."""
    process = subprocess.Popen(
        [sys.executable, "-m", "crvae", *args], stderr=subprocess.PIPE, text=True, env=os.environ
    )
    heard = 1 << (number - 1)
    while process.poll() is None:  # until it listens: before that, Python itself is starting
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16)  # type: ignore[index]
        if caught & heard and (number != signal.SIGINT or caught & (1 << (signal.SIGTERM - 1))):
            break
        time.sleep(0.002)
    time.sleep(seconds)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    left = [path.name for path in out.iterdir()]
    assert "Traceback" not in said, said
    assert process.returncode in (0, 128 + number), said
    assert not [name for name in left if name.startswith(".")], left
    if process.returncode:
        assert said.count("crvae: ") == 1, said
        assert "can be typed again" in said
    for path in out.iterdir():  # it was faster than the signal
        assert process.returncode == 0 or path.is_file(), said
        subprocess.run(["rm", "-r", path], check=True)
    return process.returncode


@pytest.mark.slow
@pytest.mark.parametrize("kind", WRITING)
def test_kills_at_any_moment(kind, words, tmp_path):
    """`make torture`: KILLS kills of every command that writes; what has its final name is whole, and the command can be repeated."""
    out = tmp_path / "out"
    out.mkdir()
    args = words(WRITING[kind], out)
    chance = random.Random(kind)
    for _ in range(int(os.environ.get("KILLS", "3"))):
        process = subprocess.Popen([sys.executable, "-m", "crvae", *args], stderr=subprocess.DEVNULL, env=os.environ)
        time.sleep(chance.uniform(0, 6))
        process.kill()
        process.wait()
        for path in [path for path in out.iterdir() if not path.name.startswith(".")]:
            assert path.is_dir() or path.stat().st_size
            subprocess.run(["rm", "-r", path], check=True)
    assert main(args) == 0
    assert not [path.name for path in out.iterdir() if path.name.startswith(".")]
