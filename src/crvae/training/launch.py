"""From a configuration and a dataset to a trained run: devices, precision, a new folder or an old one."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from numbers import Integral
from pathlib import Path
from shlex import quote
from typing import Any, NoReturn

import torch

from crvae.config.prior import PriorConfig
from crvae.config.stage1 import Stage1Config
from crvae.config.stage2 import Stage2Config
from crvae.counting import counted
from crvae.data import PreparedData, open_data
from crvae.devices import bf16_is_faster, device_name
from crvae.errors import UserError
from crvae.models.priors import prior_config
from crvae.training import checkpoint
from crvae.training.adoption import adopt, keep
from crvae.training.allocation import keep_freed_memory
from crvae.training.cluster import announce, place
from crvae.training.fabric import Fabric
from crvae.training.logs import check_log
from crvae.training.loop import Training
from crvae.training.prior_stage import forget_prior, has_begun, has_prior_stage, prior_training
from crvae.training.run import Run, check_new_run, environment, unsaid
from crvae.training.stage1 import Stage1
from crvae.training.stage2 import Stage2

STAGES: dict[int, Any] = {1: Stage1Config, 2: Stage2Config}


def start(config: Stage1Config | Stage2Config, data: str, out: str, stage1: str = "") -> Path:
    """Trains a new run from `config` on the prepared dataset at `data` and returns its folder.

    `stage1` is the run or folder of the Stage1 model that a Stage2 run builds on.
    Raises UserError if the run cannot be made as asked, and Interrupted after a signal; the run is then saved.
    """
    if stage1 and config.stage == 1:
        raise UserError(f"--stage1 is for Stage2 recipes, and {config.recipe} is not one: leave it out")
    if config.stage == 2 and not stage1:
        raise UserError(f"--stage1 is missing: crvae train {config.recipe} --stage1 RUN1 --data DATA --out RUN")
    prepared = open_data(data)
    check(config, prepared)
    if after := too_late(config):
        train, kappa = config.train, getattr(config.objective, "mutual_information", 0)
        raise UserError(
            f"the discriminator starts after {after:,} images, and the last batch of the run begins at"
            f" {_last_batch(train):,}: it would never be trained. Pass --objective.adversarial-after-images"
            f" {train.images * 7 // 10 // train.batch * train.batch}, or --objective.adversarial 0"
            f"{' --objective.mutual-information 0' if kappa else ''} to train without it"
        )
    check_new_run(out)  # every rank sees it, not only the one that would create it
    fabric, precision = devices(config.train.precision, config.train.deterministic)
    config = config.model_copy(update={"train": config.train.model_copy(update={"precision": precision})})
    if config.stage == 2:
        config = adopt(config, stage1)
    torch.manual_seed(config.train.seed)
    stage = _stage(config, stage1)
    fabric.barrier()
    training = Training(stage, None, prepared, fabric)
    try:
        if fabric.is_global_zero:
            about = environment(_place_of(data), prepared.fingerprint, fabric.world_size, precision, fabric.device)
            fill = partial(keep, config, stage1) if config.stage == 2 else None
            training.run = Run.create(Path(out), config, about, fill)
        training.save()
        _fit(training, Path(out))
        if has_prior_stage(config):
            _fit(prior_training(config, training.run, Path(out), prepared, fabric), Path(out))  # type: ignore[arg-type]
    finally:
        if training.run is not None:
            training.run.release()
    return Path(out)


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
    dataset = {"path": _place_of(data or about["data"]["path"]), "fingerprint": prepared.fingerprint}
    now = {"data": dataset, "world": fabric.world_size, "precision": precision}
    if not inexact:
        run.check_exact(now)
    if first and (missing := unsaid(written)):
        print(f"crvae: {path / 'config.yaml'} does not say {'; '.join(missing)}", file=sys.stderr)
    torch.manual_seed(config.train.seed)
    training, complaints = _restored(
        Training(_stage(config, path / "stage1"), run if first else None, prepared, fabric), run
    )
    if images and config.train.seen < training.images:
        raise UserError(
            f"{folder} has seen {training.images:,} images, --train.images {images:,} is fewer. Pass a larger total"
        )
    here = {"device": str(fabric.device), "threads": torch.get_num_threads(), "torch": torch.__version__}
    if "processor" in about:  # earlier runs do not say it
        here["processor"] = device_name(fabric.device)
    moved = [f"{name} was {about.get(name)}, is now {now}" for name, now in here.items() if about.get(name) != now]
    complaints += [f"{change}: the run continues, but not bit for bit" for change in moved]
    if first:
        for complaint in complaints:
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
        _fit(training, path)
    elif not published:
        training.publish(snapshot=False)
    if has_prior_stage(config):
        _fit(prior_training(config, training.run, path, prepared, fabric), path)


def _place_of(data: str) -> str:
    """A dataset's place as environment.json keeps it: the same from any working directory."""
    return data if "://" in data else os.path.abspath(data)


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


def _restored(training: Training, run: Run) -> tuple[Training, list[str]]:
    """The training at its newest whole checkpoint, and what to tell the user about it."""
    if not checkpoint.existing(run.checkpoints) and not run.reports():
        training.save()  # as a new run does, so that a report never comes before the first checkpoint
        return training, [f"{run.folder} was stopped before its first checkpoint, and starts again"]
    _, state, complaints = checkpoint.newest(run.checkpoints)
    training.restore(state)
    return training, complaints


def _stage(config: Any, stage1: str | Path) -> Any:
    return Stage1(config) if config.stage == 1 else Stage2(config, stage1)


def _fit(training: Training, folder: Path) -> None:
    try:
        training.fit()
    except OSError as error:
        raise UserError(
            f"cannot write to {folder} any more ({error}). Its checkpoints are intact. Fix the cause, then run:"
            f" crvae train --resume {quote(str(folder))}"
        ) from error


def devices(precision: str, deterministic: bool) -> tuple[Fabric, str]:
    """Fabric on the devices at hand (the ranks of torchrun or srun, else one), and the precision that `auto` stands for."""
    keep_freed_memory()
    cuda = torch.cuda.is_available()
    if precision == "auto":
        precision = "bf16" if bf16_is_faster(torch.device("cuda" if cuda else "cpu")) else "fp32"
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    here = place()
    fabric = Fabric(
        accelerator="cuda" if cuda else "cpu",
        devices=here.local,
        num_nodes=here.world // here.local,
        strategy="ddp" if here.world > 1 else "auto",
        plugins=announce(here),
        precision="bf16-mixed" if precision == "bf16" else "32-true",
    )
    fabric.launch()
    if cuda:
        torch.backends.cudnn.benchmark = not deterministic
        torch.use_deterministic_algorithms(deterministic)
    return fabric, precision


def too_late(config: Any) -> int:
    """The images after which the run's discriminator starts, where that is after the run's last batch; else 0."""
    if config.stage != 1 or not config.objective.adversarial:
        return 0
    after = config.objective.adversarial_after_images
    return after if after > _last_batch(config.train) else 0


def _last_batch(train: Any) -> int:
    """The images seen when the run's last batch begins."""
    return (train.images - 1) // train.batch * train.batch


def check(config: Any, data: PreparedData, resumed: bool = False) -> None:
    """Raises UserError if the dataset is not of the recipe's size or colour, or smaller than a batch.

    The sentence ends with what to type: for a run that is `resumed`, whose options are fixed, other data.
    """

    def refuse(problem: str, remedy: str) -> NoReturn:
        raise UserError(f"{problem}: {'pass --data with the dataset of the run' if resumed else remedy}")

    model, card = config.model, data.card
    check_log(config.train.log)
    if config.stage == 1:
        prior_config(config.prior)
    if has_prior_stage(config) and config.prior.batch % place().world:
        raise UserError(
            f"{'prior.batch of the run' if resumed else '--prior.batch'} must be a multiple of the number of devices"
            f" ({place().world}), got {config.prior.batch}"
        )
    count = len(data.split("train"))
    if config.train.batch > count:
        refuse(
            f"{'the batch of' if resumed else '--train.batch'} {config.train.batch} is larger than the train split of"
            f" {data.path} ({counted(count, 'image')})",
            f"use {fitting_batch(config, count)}",
        )
    if card.size != model.size:
        refuse(
            f"{data.path} holds {card.size}-pixel images, the recipe needs {model.size}",
            f"prepare it with --size {model.size}",
        )
    if card.channels != model.channels:
        kinds = {1: "grey", 3: "colour"}
        refuse(
            f"{data.path} holds {kinds[card.channels]} images, the recipe needs {kinds[model.channels]}",
            f"set --model.channels {card.channels}",
        )
    if config.stage == 2 and model.output_size not in card.sizes:
        refuse(
            f"{data.path} holds no {model.output_size}-pixel images beside its {card.size}-pixel ones",
            f"prepare it with --size {model.size} --pair {model.output_size}",
        )


def fitting_batch(config: Any, count: int) -> str:
    """The options that give the largest batch for `count` training images, as they are typed."""
    parts = place().world * config.train.accumulate
    largest = max(parts * (count // parts), 2)
    for batch in range(largest, 1, -parts):
        smaller = config.model_copy(update={"train": config.train.model_copy(update={"batch": batch})})
        if config.stage == 2 or not smaller.undivided(parts):
            return f"--train.batch {batch}"
    return f"--train.batch {largest} --discriminator.group {largest // parts}"
