"""Stage2 on the user's own small images (section 4.3)."""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from crvae.errors import UserError
from crvae.models.upsampler import Upsampler
from crvae.pictures import to_8_bit
from crvae.storage.models import load

BATCH = 16
"""Images upsampled at once: their maps are large."""


def load_upsampler(run: str, device: str | torch.device = "cpu") -> Upsampler:
    """The Upsampler of a Stage2 run. Raises UserError if there is none, or only a Stage1 model."""
    model = load(run, device)
    if not isinstance(model, Upsampler):
        raise UserError(f"{run} is a Stage1 model: give a Stage2 run (crvae train RECIPE --stage1 {quote(run)} ...)")
    return model


def upscale(model: Upsampler, x: Float[Tensor, "n c h w"]) -> Iterator[UInt8[Tensor, "c h2 w2"]]:
    """Small images in [-1, 1], at Stage1's size, -> large ones, 8-bit, one after the other.

    They go into the network as they are, not through Stage1; it was trained on Stage1's outputs, so what those do not show
    (noise, other subjects) it has not learned to enlarge.
    """
    for part in x.split(BATCH):
        yield from to_8_bit(model.upscale(part.to(model.device)))
