"""From a configuration and a dataset to a trained run: devices, precision, a new folder or an old one."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from crvae.config import Stage1Config
from crvae.data import PreparedData, open_data
from crvae.errors import UserError
from crvae.training import checkpoint
from crvae.training.loop import Training
from crvae.training.run import Run, environment
from crvae.training.stage1 import Stage1

STAGES: dict[int, Any] = {1: Stage1Config}
EXPERIMENTS: dict[int, Any] = {1: Stage1}


def start(config: Stage1Config, data: str, out: str) -> Path:
    """Trains a new run from `config` on the prepared dataset at `data` and returns its folder.

    Raises UserError for whatever the user can mend, Interrupted after a signal; the run is then saved.
    """
    prepared = open_data(data)
    check(config, prepared)
    fabric, precision = devices(config.train.precision, config.train.deterministic)
    config = config.model_copy(update={"train": config.train.model_copy(update={"precision": precision})})
    torch.manual_seed(config.train.seed)
    experiment = EXPERIMENTS[config.stage](config)
    run = None
    if Path(out).exists() and fabric.world_size > 1:  # every rank sees it, not only the one that would create it
        raise UserError(f"--out {out} exists already: choose another name, or go on with it by --resume {out}")
    fabric.barrier()
    training = Training(experiment, None, prepared, fabric)
    if fabric.is_global_zero:
        about = environment(data, prepared.fingerprint, fabric.world_size, precision, str(fabric.device))
        run = training.run = Run.create(Path(out), config, about)
    training.save()
    training.fit()
    return run.folder if run else Path(out)


def resume(folder: str, *, data: str = "", images: int = 0, inexact: bool = False) -> Path:
    """Goes on with the run in `folder` where its newest whole checkpoint stands, and returns it.

    `data` says where the dataset is now, `images` sets a new total, `inexact` allows another precision, number of devices or
    dataset than the run began with.
    """
    path = Path(folder)
    first = int(os.environ.get("RANK", "0")) == 0
    run = Run.open(path) if first else Run(path)
    config = run.config(STAGES)
    if images:
        config = config.model_copy(update={"train": config.train.model_copy(update={"images": images})})
    about = run.environment()
    prepared = open_data(data or about["data"]["path"])
    check(config, prepared)
    fabric, precision = devices(config.train.precision, config.train.deterministic)
    found = {"world": fabric.world_size, "precision": precision}
    changed = [f"{name} was {about[name]}, is {now}" for name, now in found.items() if about[name] != now]
    if about["data"]["fingerprint"] != prepared.fingerprint:
        changed.append(f"{prepared.path} is not the dataset that the run began with")
    if changed and not inexact:
        raise UserError(f"{folder} would not go on exactly: {'; '.join(changed)} (--inexact goes on all the same)")
    torch.manual_seed(config.train.seed)
    training = Training(EXPERIMENTS[config.stage](config), run if first else None, prepared, fabric)
    seen, state, complaints = checkpoint.newest(run.checkpoints)
    for complaint in complaints:
        print(f"crvae: {complaint}", file=sys.stderr)
    training.restore(state)
    if first:
        run.forget_after(seen)
    training.fit()
    return path


def devices(precision: str, deterministic: bool) -> tuple[Fabric, str]:
    """Fabric on the devices at hand (torchrun's or SLURM's ranks, else one), and the precision that `auto` stands for."""
    cuda = torch.cuda.is_available()
    if precision == "auto":
        precision = "bf16" if (torch.cuda.is_bf16_supported() if cuda else _cpu_has_bf16()) else "fp32"
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    world, local = (int(os.environ.get(name, "1")) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    fabric = Fabric(
        accelerator="cuda" if cuda else "cpu",
        devices=local,
        num_nodes=max(1, world // local),
        strategy="ddp" if world > 1 else "auto",
        precision="bf16-mixed" if precision == "bf16" else "32-true",
    )
    fabric.launch()
    if cuda:
        torch.backends.cudnn.benchmark = not deterministic
        torch.use_deterministic_algorithms(deterministic)
    return fabric, precision


def check(config: Any, data: PreparedData) -> None:
    """Raises UserError where the dataset is not of the recipe's size or colour."""
    model, card = config.model, data.card
    if card.size != model.size:
        raise UserError(
            f"{data.path} holds {card.size}-pixel images, the recipe needs {model.size}: prepare it with --size {model.size}"
        )
    if card.channels != model.channels:
        kinds = {1: "grey", 3: "colour"}
        raise UserError(
            f"{data.path} holds {kinds[card.channels]} images, the recipe needs {kinds[model.channels]}:"
            f" set --model.channels {card.channels}"
        )


def _cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bf16 in hardware: without, bf16 is slower than fp32."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()  # type: ignore[attr-defined]
