"""Quantisation steps of every block for the bytes that a file should take on average: the least error in pixels at that rate.

Blocks are quantised one at a time, which gives each the bytes and the error of every step. Errors are taken to add up. The steps are
then those that minimise error + l * bytes, block by block, for the least l whose files are small enough (Shoham and Gersho, 1988).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64

from crvae.errors import UserError
from crvae.models.gaussian import DiagonalGaussian
from crvae.progress import Progress, silent
from crvae.tasks.codec import STEPS, Codec, finest
from crvae.tasks.crz_file import FRAME, HEADER, frame_size
from crvae.tasks.traversal import decode_all, stage1_of

IMAGES = 64
"""Images that are enough to choose on."""
EVERY = 4
"""The error of one step in so many is measured, the others are interpolated."""
HALVINGS = 40
"""Of the interval that log2 l lies in."""


@dataclass(frozen=True)
class Tables:
    """What each step of each block costs; steps finer than the finest have an infinite error."""

    sizes: Int64[np.ndarray, "t s b"]
    """Bytes of the block's frame in the file of each image; 0 where it says nothing."""
    errors: Float[np.ndarray, "t s"]
    """Mean squared difference of pixels in [-1, 1] from those without quantisation."""

    def cheapest(self, multiplier: float) -> Int64[np.ndarray, " t"]:
        """Indices of the steps that minimise error + multiplier * bytes."""
        return (self.errors + multiplier * self.sizes.mean(2)).argmin(1)

    def average(self, indices: Int64[np.ndarray, " t"]) -> float:
        """Bytes of a whole file with these steps; a silent block before one that speaks has an empty frame."""
        sizes = self.sizes[np.arange(len(indices)), indices]
        kept = np.flip(np.logical_or.accumulate(np.flip(sizes > 0, 0)), 0)
        return HEADER + float(np.where(kept, np.maximum(sizes, FRAME), 0).sum(0).mean())


def choose(tables: Tables, wanted: int) -> Int64[np.ndarray, " t"]:
    """Indices of steps, one a block, with which the files of the measured images take at most `wanted` bytes on average.

    Where even the finest steps take no more, those. Raises UserError if `wanted` does not hold a header.
    """
    if wanted < HEADER:
        raise UserError(f"--bytes must be {HEADER} or more, the size of a file's header, got {wanted}")
    low, high = -80.0, 20.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if tables.average(tables.cheapest(2**middle)) <= wanted else (middle, high)
    return _filled(tables, tables.cheapest(2**high), wanted)


def _filled(tables: Tables, indices: Int64[np.ndarray, " t"], wanted: int) -> Int64[np.ndarray, " t"]:
    """One step finer here and there, whatever lowers the error most for its bytes, as long as they fit: l leaves gaps."""
    while True:
        size, rated = tables.average(indices), []
        for t, index in enumerate(indices):
            finer = indices.copy()
            finer[t] -= 1
            gain = tables.errors[t, index] - tables.errors[t, index - 1]
            if index and gain > 0 and (larger := tables.average(finer)) <= wanted:
                rated.append((gain / max(larger - size, 1e-9), t))
        if not rated:
            return indices
        indices = indices - (np.arange(len(indices)) == max(rated)[1])


@torch.no_grad()
def measure(codec: Codec, posterior: DiagonalGaussian, progress: Progress = silent) -> Tables:
    """Quantises block after block, all others as they are, from the finest step to the first that leaves nothing."""
    mean, deviation = codec.blocks_of(posterior)
    first = np.clip(finest(np.sqrt((deviation**2).mean(0))), 0, STEPS - 1)
    sizes, errors = np.zeros((codec.steps, STEPS, len(mean)), np.int64), np.full((codec.steps, STEPS), np.inf)
    original = _decoded(codec, mean)
    for t, start in enumerate(first):
        progress("choosing steps", t, codec.steps)
        measured: dict[int, float] = {}
        for index in range(start, STEPS):
            parts = [codec.block(t, values[t], index) for values in mean]
            sizes[t, index] = [frame_size(int(part.bits / 8 + 0.5)) * part.symbols.any() for part in parts]
            nothing = not sizes[t, index].any()
            if nothing or index == STEPS - 1 or (index - start) % EVERY == 0:
                changed = mean.copy()
                changed[:, t] = [part.values for part in parts]
                measured[index] = (_decoded(codec, changed) - original).square().mean().item()
            if nothing:
                break
        known = np.log2(np.maximum(list(measured.values()), 1e-30))
        errors[t, start:] = 2 ** np.interp(np.arange(start, STEPS), list(measured), known)
    return Tables(sizes, errors)


def _decoded(codec: Codec, z: Float[np.ndarray, "b t k"]) -> Float[torch.Tensor, "b c h w"]:
    shape = stage1_of(codec.model).latent_shape
    return decode_all(codec.model, torch.from_numpy(z).float().view(-1, *shape).to(codec.model.device))
