"""From a configuration and a dataset to a trained run: devices, precision, a new folder."""

from __future__ import annotations

import logging
import os
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Any

import torch

from crvae.config.stage1 import Stage1Config
from crvae.config.stage2 import Stage2Config
from crvae.data import open_data
from crvae.devices import bf16_is_faster
from crvae.errors import UserError
from crvae.training.adoption import adopt, keep
from crvae.training.allocation import keep_freed_memory
from crvae.training.checks import check, last_batch, too_late
from crvae.training.cluster import announce, place
from crvae.training.fabric import Fabric
from crvae.training.loop import Training
from crvae.training.prior_stage import has_prior_stage, prior_training
from crvae.training.run import Run, check_new_run, environment
from crvae.training.stage1 import Stage1
from crvae.training.stage2 import Stage2

STAGES: dict[int, Any] = {1: Stage1Config, 2: Stage2Config}
"""Stage -> its configuration."""


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
            f" {last_batch(train):,}: it would never be trained. Pass --objective.adversarial-after-images"
            f" {train.images * 7 // 10 // train.batch * train.batch}, or --objective.adversarial 0"
            f"{' --objective.mutual-information 0' if kappa else ''} to train without it"
        )
    check_new_run(out)  # every rank sees it, not only the one that would create it
    fabric, precision = devices(config.train.precision, config.train.deterministic)
    config = config.model_copy(update={"train": config.train.model_copy(update={"precision": precision})})
    if config.stage == 2:
        config = adopt(config, stage1)
    torch.manual_seed(config.train.seed)
    stage = stage_of(config, stage1)
    fabric.barrier()
    training = Training(stage, None, prepared, fabric)
    try:
        if fabric.is_global_zero:
            about = environment(place_of(data), prepared.fingerprint, fabric.world_size, precision, fabric.device)
            fill = partial(keep, config, stage1) if config.stage == 2 else None
            training.run = Run.create(Path(out), config, about, fill)
        training.save()
        fit(training, Path(out))
        if has_prior_stage(config):
            fit(prior_training(config, training.run, Path(out), prepared, fabric), Path(out))  # type: ignore[arg-type]
    finally:
        if training.run is not None:
            training.run.release()
    return Path(out)


def place_of(data: str) -> str:
    """A dataset's place as environment.json keeps it: the same from any working directory."""
    return data if "://" in data else os.path.abspath(data)


def stage_of(config: Any, stage1: str | Path) -> Stage1 | Stage2:
    """What the recipe trains; `stage1` is the run or folder of the Stage1 model that a Stage2 run builds on."""
    return Stage1(config) if config.stage == 1 else Stage2(config, stage1)


def fit(training: Training, folder: Path) -> None:
    """Trains to the end of the schedule. Raises UserError if `folder` cannot be written any more."""
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
