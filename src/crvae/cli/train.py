"""`crvae train RECIPE --data DATA --out RUN`, `crvae train --resume RUN`."""

from __future__ import annotations

import dataclasses
import difflib
import os
import sys
from dataclasses import dataclass

from pydantic import ValidationError

from crvae.cli.parsing import parse, sentence
from crvae.config import DiscriminatorConfig, InputConfig, ModelConfig, ObjectiveConfig, TrainConfig
from crvae.errors import UserError

USAGE = """\
usage: crvae train RECIPE --data DATA --out RUN [options]    train a new run (options: crvae train RECIPE --help)
       crvae train --resume RUN [options]                    go on where it stopped (options: crvae train --resume --help)
       torchrun --nproc-per-node N -m crvae train ...        the same on N devices

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


@dataclass
class ResumeTrain:
    """What may be said anew of the training."""

    images: int = 0
    """A new total, in images seen; 0 keeps the run's."""


@dataclass
class Resume:
    """Go on with a run exactly where it stopped."""

    resume: str
    """Folder of the run."""
    data: str = ""
    """Where its prepared dataset is now, if not where it was."""
    train: ResumeTrain = dataclasses.field(default_factory=ResumeTrain)
    inexact: bool = False
    """Go on even on another number of devices, in another precision or on another dataset than the run began with."""


def run(args: list[str]) -> int:
    if not args or args[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if args else 2
    if args[0].startswith("-"):
        command = parse(Resume, args, name="train")
        return _finish(_resume, command)
    return _finish(_start, *_configure(args[0], args[1:]))


def _configure(name: str, args: list[str]):
    from crvae.recipes import RECIPES

    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=1)
        raise UserError(
            f"there is no recipe {name!r}{f'; did you mean {near[0]!r}?' if near else ''} (`crvae recipes` lists them)"
        )
    config = RECIPES[name].config
    default = Train(
        data="",
        out="",
        model=config.model,
        discriminator=config.discriminator,
        objective=config.objective,
        input=config.input,
        train=config.train,
    )
    command = parse(Train, args, name=f"train {name}", default=default)
    for option in ("data", "out"):
        if not getattr(command, option):
            raise UserError(f"--{option} is missing: crvae train {name} --data DATA --out RUN")
    try:
        config = type(config)(
            recipe=name,
            model=command.model,
            discriminator=command.discriminator,
            objective=command.objective,
            input=command.input,
            train=command.train,
        )
    except ValidationError as error:
        raise UserError(sentence(error)) from None
    return config, command


def _start(config, command: Train) -> None:
    from crvae.training.launch import start

    start(config, command.data, command.out)


def _resume(command: Resume) -> None:
    from crvae.training.launch import resume

    resume(command.resume, data=command.data, images=command.train.images, inexact=command.inexact)


def _finish(work, *arguments) -> int:
    from crvae.training.loop import Interrupted

    command = arguments[-1]
    out = getattr(command, "out", None) or command.resume
    try:
        work(*arguments)
    except Interrupted as stop:
        if os.environ.get("RANK", "0") == "0":
            print(
                f"crvae: stopped by {stop}; everything is saved. Go on with: crvae train --resume {out}",
                file=sys.stderr,
            )
        return stop.code
    if os.environ.get("RANK", "0") == "0":
        print(f"done: {out} (crvae sample {out} --count 64 --out samples.png)", file=sys.stderr)
    return 0
