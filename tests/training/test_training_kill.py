"""Training is killed, again and again, and ends with the weights of a run that was left alone, bit for bit."""

from __future__ import annotations

import functools
import multiprocessing.connection
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from crvae.cli import main
from crvae.training import checkpoint
from processes import Command, ranks
from reference.same import assert_same_end

RECIPE = "emoji-crvae-gan-mi"
OPTIONS = [
    "--train.warm-up", "--objective.margin", "0.3", "--input.flip", "--prior.kind", "flow", "--prior.flow.width", "8",
    "--prior.batch", "16", "--prior.images", "128", "--prior.checkpoint-images", "64",
]  # fmt: skip
CALLS = ("fsync", "rename", "replace", "mkdir", "rmdir", "unlink")


def die_at(count: int) -> None:
    """Makes this process kill itself just before its `count`-th call that changes a folder or syncs, or inside a save."""
    import torch

    left = [count]

    def now() -> bool:
        left[0] -= 1
        return left[0] == 0

    def deadly(call):
        @functools.wraps(call)
        def wrapped(*args, **kwargs):
            if now():
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **kwargs)

        return wrapped

    for name in CALLS:
        setattr(os, name, deadly(getattr(os, name)))
    write = torch.save

    def torn(state, path, *args, **kwargs):
        write(state, path, *args, **kwargs)
        if isinstance(path, Path) and now():  # ranks send each other tensors by the same function
            os.truncate(path, os.path.getsize(path) // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    torch.save = torn


def command(run: Path, colour: Path, tiny: list[str]) -> list[str]:
    """What a user types after a kill: the same command again where nothing was made, else --resume."""
    if run.exists():
        return ["train", "--resume", str(run)]
    return ["train", RECIPE, "--data", str(colour), "--out", str(run), *tiny, *OPTIONS]


def survive(kills: int, world: int, folder: Path, colour: Path, tiny: list[str], seed: int) -> list[str]:
    """Kills runs until `kills` have hit, each run resumed to its end and compared. Returns what was hit, in words."""
    chance = random.Random(seed)
    whole = folder / "whole"
    assert all(c.wait() == 0 for c in start(world, command(whole, colour, tiny), folder / "whole.log"))
    hits: list[str] = []
    attempt = 0
    run = folder / "run"
    while len(hits) < kills or run.exists():
        attempt += 1
        enough = len(hits) >= kills
        inside = chance.random() < 0.5 and not enough
        # odd moments inside a save or a publication, and any moment at all
        prepare = functools.partial(die_at, chance.randint(1, 60)) if inside else None
        commands = start(world, command(run, colour, tiny), folder / f"{attempt}.log", prepare)
        if not inside and not enough:
            time.sleep(chance.uniform(0.2, 2.5))
            for process in commands:
                process.process.kill()
        codes = end(commands)
        assert codes[0] in (0, -signal.SIGKILL), f"{codes}: {commands[0].said()}"
        if any(codes):
            hits.append("inside" if inside else "anywhere")
            if run.exists() and checkpoint.existing(run / "checkpoints"):
                checkpoint.newest(run / "checkpoints")  # the previous state always opens
        else:
            assert_same_end(whole, run)
            assert not [path for path in run.rglob(".*") if path.name != ".lock"], "something half-written stayed"
            shutil.rmtree(run)
    return hits


def end(commands: list[Command]) -> list[int]:
    """Waits for all ranks, and as a launcher does, kills those that are left when one has failed. Returns exit codes."""
    multiprocessing.connection.wait([command.process.sentinel for command in commands])
    while any(command.process.is_alive() for command in commands):
        if any(command.process.exitcode for command in commands):
            for command in commands:
                command.process.kill()
        multiprocessing.connection.wait([c.process.sentinel for c in commands if c.process.is_alive()], timeout=1)
    return [command.wait() for command in commands]


def start(world: int, args: list[str], log: Path, prepare=None) -> list[Command]:
    return [Command(args, log, prepare=prepare)] if world == 1 else ranks(world, args, log, prepare)


def test_six_kills(tmp_path, colour, tiny):
    hits = survive(6, 1, tmp_path, colour, tiny, seed=0)
    assert len(hits) >= 6
    assert "inside" in hits


def test_three_kills_of_two_ranks(tmp_path, colour, tiny):
    assert len(survive(3, 2, tmp_path, colour, tiny, seed=1)) >= 3


def every_moment(folder: Path, trained: Path, stride: int) -> int:
    """Kills a save and a publication before its calls number 1, 1 + stride, ... Returns how many times it died."""
    at_128 = shutil.copytree(trained, folder / "at-128")
    shutil.rmtree(at_128 / "checkpoints" / f"{160:012d}")
    deaths, moment = 0, 1
    while True:
        run = shutil.copytree(at_128, folder / f"run-{moment}")
        prepare = functools.partial(die_at, moment)
        killed = Command(["train", "--resume", str(run)], folder / f"{moment}.log", prepare=prepare)
        if killed.wait() == 0:
            return deaths
        assert killed.process.exitcode == -signal.SIGKILL, killed.said()
        images, _, complaints = checkpoint.newest(run / "checkpoints")
        assert images in (128, 160)
        assert not complaints
        assert main(["train", "--resume", str(run)]) == 0
        assert_same_end(trained, run)
        shutil.rmtree(run)
        deaths, moment = deaths + 1, moment + stride


def test_moments_of_a_save(tmp_path, trained):
    """Killed before every third call that syncs, renames, makes or removes, or inside the write."""
    assert every_moment(tmp_path, trained, stride=3) >= 5


@pytest.mark.slow
def test_torture(tmp_path, colour, tiny, trained):
    """A hundred kills of one rank, twenty of two, and one at every moment of a save: `make torture`."""
    seed = int(os.environ.get("TORTURE_SEED", "2"))
    for name in ("one", "two", "moments"):
        (tmp_path / name).mkdir()
    assert len(survive(100, 1, tmp_path / "one", colour, tiny, seed)) >= 100
    assert len(survive(20, 2, tmp_path / "two", colour, tiny, seed + 1)) >= 20
    assert every_moment(tmp_path / "moments", trained, stride=1) >= 15
