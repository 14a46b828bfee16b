"""Images from the prior, batch after batch, however many."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import UInt8
from torch import Tensor

from crvae.devices import best_device
from crvae.models.autoencoder import SAMPLE_BATCH
from crvae.models.model import Model
from crvae.pictures import to_8_bit
from crvae.storage.models import load


def sample_images(run: str, count: int, seed: int = 0) -> UInt8[Tensor, "n c h w"]:
    """`count` 8-bit images from the prior of RUN (anything that `crvae.load` takes), always the same for one seed.

    Raises UserError if there is no such model.
    """
    return torch.cat(list(samples(load(run, best_device()), count, seed)))


def samples(model: Model, count: int, seed: int = 0) -> Iterator[UInt8[Tensor, "b c h w"]]:
    """The images of `model.sample(count, seed)`, 8-bit, a batch at a time: memory does not grow with `count`."""
    for z in model.prior.draws(count, seed, SAMPLE_BATCH):
        with torch.no_grad():  # around the whole it would be lost where another decorator hides a generator
            images = to_8_bit(model.decode(z))
        yield images
