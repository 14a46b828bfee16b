"""A walk through the latent space as it is shown: images with the labels of their rows and columns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from crvae.errors import UserError
from crvae.models.model import Model, steps_of
from crvae.pictures import save_picture, to_8_bit
from crvae.tasks.grids import labelled_grid, save_animation
from crvae.tasks.inputs import Images
from crvae.tasks.profiling import posterior_of
from crvae.tasks.traversal import interpolation, progression, redrawn, styles

Kind = Literal["progressive", "interpolate", "style"]


@dataclass(frozen=True)
class Walk:
    """Stored images, `r` rows of `k`."""

    images: UInt8[Tensor, "r k c h w"]
    rows: list[str]
    columns: list[str]

    def grid(self) -> Image.Image:
        return labelled_grid(self.images, self.rows, self.columns)

    def frames(self) -> list[Image.Image]:
        """One picture a column, the rows' images side by side in a block that is about square."""
        wide = math.ceil(math.sqrt(len(self.images)))
        missing = -len(self.images) % wide
        images = torch.cat([self.images, self.images.new_full((missing, *self.images.shape[1:]), 255)])
        blocks = images.unflatten(0, (-1, wide)).permute(2, 0, 1, 3, 4, 5)
        return [labelled_grid(block, columns=[label]) for block, label in zip(blocks, self.columns, strict=True)]

    def write(self, path: Path) -> None:
        """A grid as PNG or JPEG, or an animation as GIF or WebP, as `path` ends."""
        if path.suffix.lower() in (".png", ".jpg", ".jpeg"):
            save_picture(self.grid(), path)
        else:
            save_animation(self.frames(), path)


def walk(
    model: Model, kind: Kind, *, images: Images | None, step: int | None, count: int, columns: int, seed: int
) -> Walk:
    """The walk of one `kind` for `count` samples, or for the posterior means of `images`, which then come first.

    Interpolations and styles change block `step`; without it the rows are the time steps, all of the first sample or image.
    `columns` are the points of an interpolation or the draws of a style. Raises UserError if there is no such step.
    """
    steps = steps_of(model)
    if step is not None and not 1 <= step <= steps:
        raise UserError(f"--step must be from 1 to {steps}, the model's time steps, got {step}")
    if step is not None and kind == "progressive":
        raise UserError("progressive shows all steps. Leave --step out")
    z = model.prior.sample(count, seed) if images is None else posterior_of(model, images.x).mean
    names = [f"sample {row + 1}" for row in range(count)] if images is None else [n[:20] for n in images.names]
    noise = model.prior.noise(columns, seed + 1)  # other draws than the samples'
    if kind == "progressive":
        walks, labels = progression(model, z), [f"t = {t}" for t in range(steps + 1)]
    elif step is not None:
        walks, labels = _change(model, kind, z, noise, step)
        labels[0] = f"{labels[0]}, t = {step}"
    else:
        rows = [_change(model, kind, z[:1], noise, t) for t in range(1, steps + 1)]
        walks, labels = torch.cat([images_of_step for images_of_step, _ in rows]), rows[0][1]
        names = [f"t = {t}" for t in range(1, steps + 1)]
    if images is not None:
        by_step = kind != "progressive" and step is None
        originals = images.x[:1].expand(len(walks), -1, -1, -1) if by_step else images.x
        walks, labels = torch.cat([originals[:, None], walks], 1), ["image", *labels]
    return Walk(to_8_bit(walks), names, labels)


def _change(
    model: Model, kind: Kind, z: Tensor, noise: Tensor, step: int
) -> tuple[Float[Tensor, "r k c h w"], list[str]]:
    if kind == "style":
        return styles(model, z, noise, step), ["as it is", *(f"style {k + 1}" for k in range(len(noise)))]
    points = len(noise)
    shares = [f"{share:.0%}" for share in torch.linspace(0, 1, points).tolist()]
    return interpolation(model, z, redrawn(model, z, noise[0], step), step, points), shares
