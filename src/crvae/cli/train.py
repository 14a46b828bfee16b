"""`crvae train RECIPE --data DATA --out RUN`, `crvae train --resume RUN`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from crvae.cli.parsing import meant, parse
from crvae.cli.stopping import advise
from crvae.config.prior import PriorConfig
from crvae.config.stage1 import DiscriminatorConfig, InputConfig, ModelConfig, ObjectiveConfig, TrainConfig
from crvae.config.stage2 import (
    Stage2DiscriminatorConfig,
    Stage2InputConfig,
    Stage2ObjectiveConfig,
    Stage2TrainConfig,
    UpsamplerConfig,
)
from crvae.errors import UserError
from crvae.progress import waiting

USAGE = """\
usage: crvae train RECIPE --data DATA --out RUN [options]    train a new run (options: crvae train RECIPE --help)
       crvae train RECIPE --stage1 RUN --data DATA --out RUN2 [options]    the same for Stage2, on top of a Stage1 run
       crvae train --resume RUN [options]                    continue where it stopped (options: crvae train --resume --help)
       torchrun --nproc-per-node N -m crvae train ...        the same on N devices
       srun --ntasks-per-node N crvae train ...              the same in a SLURM job

`crvae recipes` lists the recipes."""


@dataclass
class Train:
    """Train a new Stage1 run; every field of the recipe is an option."""

    data: str
    """Prepared dataset (`crvae prepare`)."""
    out: str
    """Folder of the new run."""
    model: ModelConfig
    discriminator: DiscriminatorConfig
    objective: ObjectiveConfig
    input: InputConfig
    train: TrainConfig
    prior: PriorConfig


@dataclass
class TrainStage2:
    """Train a new Stage2 run on top of a Stage1 model; every field of the recipe is an option."""

    stage1: str
    """Run or folder of the Stage1 model; the new run keeps a copy."""
    data: str
    """Prepared dataset that holds each image at both sizes (`crvae prepare SOURCE OUT --size 64 --pair 128`)."""
    out: str
    """Folder of the new run."""
    model: UpsamplerConfig
    discriminator: Stage2DiscriminatorConfig
    objective: Stage2ObjectiveConfig
    input: Stage2InputConfig
    train: Stage2TrainConfig


COMMANDS: dict[int, type[Train] | type[TrainStage2]] = {1: Train, 2: TrainStage2}
"""Stage -> its options: names, and the parts of its configuration."""

PARTS = ("model", "discriminator", "objective", "input", "train", "prior")


@dataclass
class ResumeTrain:
    """What can be changed in the training."""

    images: int = 0
    """A new total, in images seen; 0 keeps the run's."""


@dataclass
class Resume:
    """Continue a run exactly where it stopped."""

    resume: str
    """Folder of the run."""
    data: str = ""
    """Where its prepared dataset is now, if not where it was."""
    train: ResumeTrain = dataclasses.field(default_factory=ResumeTrain)
    inexact: bool = False
    """Continue even on another number of devices, in another precision or on another dataset; the run remembers which."""


def run(args: list[str]) -> int:
    if not args or args[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if args else 2
    if args[0].startswith("-"):
        asked = {"-h", "--help"} & set(args)  # as in the usage: --resume without a RUN before it
        if not asked and not any(meant(arg, "--resume") for arg in args):
            raise UserError(
                f"the recipe comes first: crvae train {_recipe_among(args)} --data DATA --out RUN [options]."
                " To continue a run: crvae train --resume RUN"
            )
        command = parse(Resume, sorted(asked) or args, name="train --resume RUN")
        resumable(command.resume)
        return finished(lambda: _resume(command), command.resume)
    config, command = _configure(args[0], args[1:])
    resumable(command.out)
    return finished(lambda: _start(config, command), command.out)


def _recipe_among(args: list[str]) -> str:
    """The recipe that stands among the options, not as the value of one; or the word RECIPE."""
    from crvae.recipes import RECIPES

    pairs = zip(["", *args], args, strict=False)
    words = [arg for before, arg in pairs if not before.startswith("--") or "=" in before]
    return next((word for word in words if word in RECIPES), "RECIPE")


def _configure(name: str, args: list[str]):
    from crvae.recipes import named

    recipe = named(name)
    kind = COMMANDS[recipe.config.stage]
    names = [field.name for field in dataclasses.fields(kind)]
    places, parts = [name for name in names if name not in PARTS], [name for name in names if name in PARTS]
    default = kind(**dict.fromkeys(places, ""), **{part: getattr(recipe.config, part) for part in parts})
    command = parse(kind, args, name=f"train {name}", default=default)
    for option in places:
        if not getattr(command, option):
            raise UserError(f"--{option} is missing: {recipe.command}")
    return recipe.configured({part: getattr(command, part) for part in parts}), command


def _start(config, command: Train | TrainStage2) -> None:
    with waiting("loading"):
        from crvae.training.launch import start

    start(config, command.data, command.out, getattr(command, "stage1", ""))


def _resume(command: Resume) -> None:
    with waiting("loading"):
        from crvae.training.resuming import resume

    resume(command.resume, data=command.data, images=command.train.images, inexact=command.inexact)


def resumable(out: str) -> None:
    """An interrupted command says from now on that the run `out`, once it is there, goes on by `crvae train --resume`."""
    advise(f"; what {out} has saved stays. Continue with: crvae train --resume {quote(out)}", Path(out))


def finished(work: Callable[[], object], out: str) -> int:
    """Does the work of training the run `out`, and says how it ended. Returns the exit code."""
    from crvae.training.cluster import place
    from crvae.training.loop import Interrupted

    first = place().rank == 0
    try:
        work()
    except Interrupted as stop:
        if first:
            print(
                f"crvae: stopped by {stop}; everything is saved. Continue with: crvae train --resume {quote(out)}",
                file=sys.stderr,
            )
        return stop.code
    if first:
        print(f"done: {out} (crvae sample {quote(out)} --count 64 --out samples.png)", file=sys.stderr)
    return 0
