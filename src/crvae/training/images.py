"""Prepared images as a stage's batches: the endless stream, and the evenly spaced ones that publishing looks at."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from crvae.config.stage1 import Stage1Config
from crvae.config.stage2 import Stage2Config
from crvae.data import PreparedData, batches
from crvae.data.indices import evenly
from crvae.training.stage import Stored


def stream(
    data: PreparedData, config: Stage1Config | Stage2Config, sizes: tuple[int, ...], start: int, rank: int, world: int
) -> Iterator[Stored]:
    """This rank's endless training batches at each of `sizes` (pixels), uint8 `b c h w`, from `start` images seen on."""
    train = config.train
    return batches(
        data.split("train"),
        batch=train.batch,
        seed=train.seed,
        start=start,
        flip=config.input.flip,
        rank=rank,
        world=world,
        sizes=sizes,
    )


def calibration(
    data: PreparedData, batch: int, sizes: tuple[int, ...], device: torch.device, most: int
) -> Iterator[Stored]:
    """`most` or fewer training images, evenly spaced, in batches of the run's size: the same at every call."""
    split = data.split("train")
    rows = evenly(len(split), most)
    batch = min(batch, len(rows))
    for part in rows.split(batch):
        if len(part) == batch:
            yield tuple(split.images(part, size=size).to(device) for size in sizes)
