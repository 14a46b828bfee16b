"""A run that was stopped goes on from its newest whole checkpoint, to a new total or another prior where that is asked."""

from __future__ import annotations

import sys
from collections.abc import Callable
from numbers import Integral
from pathlib import Path
from shlex import quote
from typing import Any

import torch

from crvae.config.prior import PriorConfig
from crvae.data import open_data
from crvae.devices import device_name
from crvae.errors import UserError
from crvae.training import checkpoint
from crvae.training.checks import check, too_late
from crvae.training.cluster import place
from crvae.training.launch import STAGES, devices, fit, place_of, stage_of
from crvae.training.loop import Training
from crvae.training.prior_stage import forget_prior, has_begun, has_prior_stage, prior_training
from crvae.training.run import Run, unsaid


def resume(
    folder: str,
    *,
    data: str = "",
    images: int = 0,
    inexact: bool = False,
    prior: PriorConfig | None = None,
    configured: Callable[[], object] = lambda: None,
) -> Path:
    """Continues the run in `folder` from its newest whole checkpoint, and returns it.

    `data` says where the dataset is now, `images` sets a new total, `inexact` allows another precision, number of devices or
    dataset than the run had; environment.json remembers both. `prior` replaces the prior of a run whose autoencoder is trained
    to its end. `configured` is called when the run's files say all that was asked, and a resume without it goes on from there.
    """
    path = Path(folder)
    run = Run.open(path) if place().rank == 0 else Run(path)
    try:
        _continue(run, data, images, inexact, prior, configured)
    finally:
        run.release()
    return path


def _continue(
    run: Run, data: str, images: int, inexact: bool, prior: PriorConfig | None, configured: Callable[[], object]
) -> None:
    path, folder, first = run.folder, str(run.folder), place().rank == 0
    written = run.config(STAGES)
    config = _asked(written, folder, images, prior)
    about = run.environment()
    try:
        prepared = open_data(data or about["data"]["path"])
    except UserError as error:
        raise UserError(f"{error}" if data else f"{error}. If the data were moved, pass --data") from None
    check(config, prepared, resumed=True)
    fabric, precision = devices(config.train.precision, config.train.deterministic)
    dataset = {"path": place_of(data or about["data"]["path"]), "fingerprint": prepared.fingerprint}
    now = {"data": dataset, "world": fabric.world_size, "precision": precision}
    if not inexact:
        run.check_exact(now)
    if first and (missing := unsaid(written)):
        print(f"crvae: {path / 'config.yaml'} does not say {'; '.join(missing)}", file=sys.stderr)
    torch.manual_seed(config.train.seed)
    training, complaints = _restored(
        Training(stage_of(config, path / "stage1"), run if first else None, prepared, fabric), run
    )
    if images and config.train.seen < training.images:
        raise UserError(
            f"{folder} has seen {training.images:,} images, --train.images {images:,} is fewer. Pass a larger total"
        )
    if first:
        for complaint in complaints + _moved(about, fabric.device):
            print(f"crvae: {complaint}", file=sys.stderr)
    if prior is not None and training.images < config.train.images:
        seen = f"{training.images:,} of {config.train.images:,} images"
        raise UserError(f"{folder} has seen {seen}. Finish its training first: crvae train --resume {quote(folder)}")
    if first:
        run.settle(now, training.images)
    if first and (images or prior is not None):
        if prior is not None:
            forget_prior(run)  # before: a kill must not leave one prior's checkpoints under another's configuration
        run.configure(config)
    published = (run.model / "config.json").is_file()  # before the barrier: all ranks see the same
    fabric.barrier()
    configured()
    if not (has_prior_stage(config) and training.images >= config.train.images and has_begun(run)):
        if first:
            forget_prior(run)  # of an autoencoder that continues
            run.forget_after(training.images)
        fit(training, path)
    elif not published:
        training.publish(snapshot=False)
    if has_prior_stage(config):
        fit(prior_training(config, training.run, path, prepared, fabric), path)


def _asked(config: Any, folder: str, images: int, prior: PriorConfig | None) -> Any:
    """The run's configuration with another total of images or another prior. Raises UserError if it cannot have them."""
    if isinstance(images, bool) or not isinstance(images, Integral) or images < 0:
        raise UserError(f"--train.images must be the new total of images, a whole number, got {images!r}")
    if images:
        config = config.model_copy(update={"train": config.train.model_copy(update={"images": int(images)})})
        if after := too_late(config):
            raise UserError(
                f"--train.images {images} ends before the discriminator of {folder} starts, after {after:,} images. Pass a larger total"
            )
    if prior is not None:
        if config.stage != 1:
            raise UserError(f"{folder} is a Stage2 run, and its prior belongs to its Stage1 model. Pass a Stage1 run")
        config = config.model_copy(update={"prior": prior})
    return config


def _moved(about: dict[str, Any], device: torch.device) -> list[str]:
    """What environment.json has otherwise than it is here, where results then differ by roundings."""
    here = {"device": str(device), "threads": torch.get_num_threads(), "torch": torch.__version__}
    if "processor" in about:  # earlier runs do not say it
        here["processor"] = device_name(device)
    return [
        f"{name} was {about.get(name)}, is now {value}: the run continues, but not bit for bit"
        for name, value in here.items()
        if about.get(name) != value
    ]


def _restored(training: Training, run: Run) -> tuple[Training, list[str]]:
    """The training at its newest whole checkpoint, and what to tell the user about it."""
    if not checkpoint.existing(run.checkpoints) and not run.reports():
        training.save()  # as a new run does, so that a report never comes before the first checkpoint
        return training, [f"{run.folder} was stopped before its first checkpoint, and starts again"]
    _, state, complaints = checkpoint.newest(run.checkpoints)
    training.restore(state)
    return training, complaints
