"""`crvae.train` and `crvae.resume`: what the command `crvae train` does, from Python."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from crvae.devices import kept_generators
from crvae.errors import UserError
from crvae.models.model import Model
from crvae.recipes import named
from crvae.storage.models import load
from crvae.training import launch, resuming
from crvae.training.loop import Interrupted

_training = threading.Lock()
"""Held while this process trains: every random draw follows from torch's one global seed, which a second training would move."""


def train(
    recipe: str,
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    stage1: str | os.PathLike[str] = "",
    **options: Any,
) -> Model:
    """Trains a new run in the folder `out` on the prepared dataset `data`, and returns its model, on the CPU.

    `stage1`: the run that a Stage2 recipe builds on. `options` are those of `crvae train RECIPE --help`, with two
    underscores for each dot and one for each hyphen. Shows a bar. Stop it with Ctrl-C, or with the notebook's stop button:
    everything is saved, and `crvae.resume` continues.

    Raises UserError if `out` exists, the data do not fit the recipe, an option is wrong, or another training runs in this
    process; KeyboardInterrupt if stopped.

    >>> model = crvae.train("fast-crvae-gan-mi", "data/photos", "runs/photos", train__images=60_000, train__seed=1)
    """
    config = named(recipe).with_options(options)
    return _finished(lambda: launch.start(config, os.fspath(data), os.fspath(out), os.fspath(stage1)), out)


def resume(
    run: str | os.PathLike[str], *, data: str | os.PathLike[str] = "", images: int = 0, inexact: bool = False
) -> Model:
    """Continues a run exactly where it stopped, and returns its model, on the CPU.

    `data`: where its dataset is now, if it was moved. `images`: a new total. `inexact`: continue also in another precision,
    or on another dataset or number of devices, which the run then remembers. Raises UserError if that cannot be done, or
    another training runs in this process; KeyboardInterrupt if stopped.

    >>> model = crvae.resume("runs/photos")
    """
    return _finished(lambda: resuming.resume(os.fspath(run), data=os.fspath(data), images=images, inexact=inexact), run)


def _finished(work: Callable[[], Path], out: str | os.PathLike[str]) -> Model:
    """The model of the run that `work` trains: with gradients wherever it is called, and torch's generators left as they were."""
    if not _training.acquire(blocking=False):
        raise UserError("another training runs in this process: train in a process of its own")
    try:
        with torch.inference_mode(False), torch.enable_grad(), kept_generators():
            return load(work())
    except Interrupted as stop:
        raise KeyboardInterrupt(
            f"{stop}; everything is saved. Continue with crvae.resume({os.fspath(out)!r})"
        ) from None
    finally:
        _training.release()
