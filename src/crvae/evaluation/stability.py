"""Figure 6: the same z decoded by the last snapshots of training, and how far the images move from one to the next."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor

from crvae.data.stored import pixels
from crvae.errors import UserError
from crvae.evaluation.distance import NAME, PerceptualDistance
from crvae.evaluation.score import Score
from crvae.intervals import mean
from crvae.pictures import GAP

SNAPSHOTS = 10
"""The last so many snapshots are compared, as in the figure."""


@dataclass(frozen=True)
class Stability:
    """What the snapshots of one run show."""

    seen: list[int]
    """Images seen at each snapshot."""
    images: UInt8[Tensor, "k n c h w"]
    """The images of the same n latents at each of k snapshots."""
    scores: dict[str, Score]


def stability(
    run: str, shape: tuple[int, int, int], distance: PerceptualDistance, until: float = float("inf")
) -> Stability | None:
    """Reads the grids in `run`/samples, of images of `shape` (c, h, w). None where there are fewer than two.

    until: images seen at the end of the autoencoder's training; a later grid is of other latents, the learned prior's.

    `movement`: distance between the images of one z at consecutive snapshots, a mean over z and snapshots; high where
    colours swing. `variety`: distance between images of different z at the last snapshot; near 0 where modes collapse.
    """
    grids = sorted((Path(run) / "samples").glob("[0-9]*.png"))
    paths = [path for path in grids if not path.stem.isdecimal() or int(path.stem) <= until][-SNAPSHOTS:]
    if len(paths) < 2:
        return None
    images = torch.stack([cut(path, shape) for path in paths])  # k n c h w
    moved = torch.stack([distance(before, after) for before, after in pairwise(images)])
    pairs = len(images[-1]) // 2
    apart = distance(images[-1][:pairs], images[-1][pairs : 2 * pairs])
    about: dict[str, Any] = {"unit": "distance", "seed": 0, **distance.about}
    scores = {
        "movement": Score(
            name=f"movement between snapshots: {NAME}",
            better="lower",
            images=moved.numel(),
            details={"snapshots": len(paths)},
            **mean(moved.mean(0)),  # one value for each z: those of its snapshots are not independent
            **about,
        ),
        "variety": Score(name=f"variety of samples: {NAME}", better="higher", images=2 * pairs, **mean(apart), **about),
    }
    return Stability([int(path.stem) for path in paths], images, scores)


def cut(path: Path, shape: tuple[int, int, int]) -> UInt8[Tensor, "n c h w"]:
    """The single images of a grid that training wrote. Raises UserError if it is not such a grid."""
    channels, height, width = shape
    try:
        grid = pixels(path.read_bytes(), 3)[:channels]
    except (OSError, ValueError):
        raise UserError(f"{path} cannot be read as an image: remove it") from None
    rows, rest_down = divmod(grid.shape[1] - GAP, height + GAP)
    columns, rest_across = divmod(grid.shape[2] - GAP, width + GAP)
    if rest_down or rest_across or rows * columns < 2:
        raise UserError(f"{path} is not a grid of {height}x{width} images: remove it, or move it elsewhere")
    cells = grid[:, GAP:, GAP:].unflatten(2, (columns, width + GAP)).unflatten(1, (rows, height + GAP))
    return cells[:, :, :height, :, :width].permute(1, 3, 0, 2, 4).flatten(0, 1).contiguous()
