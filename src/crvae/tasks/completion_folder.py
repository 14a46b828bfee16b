"""Completions as a folder: every mask's images, all restarts, comparisons, and the losses as JSON."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from crvae.atomic import write_text
from crvae.config import FORMAT
from crvae.errors import UserError
from crvae.models.autoencoder import Autoencoder
from crvae.models.discriminator import Discriminator
from crvae.pictures import save_png, to_8_bit
from crvae.tasks.completion import Completions, Search, complete
from crvae.tasks.folders import new_folder
from crvae.tasks.inputs import Images
from crvae.tasks.labelled import labelled_grid, save_picture
from crvae.tasks.occlusion import blend, occlude

ROWS_AT_ONCE = 512
"""Restarts that are searched together, over all images."""
PAGE = 16
"""Images on one page of a comparison."""
TAKEN = ("original", "occluded", "blended", "restarts", "comparison")
"""Sub-folders that are no masks."""


def write(
    out: Path,
    model: Autoencoder,
    discriminator: Discriminator | None,
    images: Images,
    masks: dict[str, Float[Tensor, "h w"]],
    search: Search,
    feather: float,
    run: str,
    progress: Callable[[str, int, int], None],
) -> float:
    """Completes all images under all masks into the new folder `out`. Returns images a second. Raises UserError as `complete`.

    MASK/NAME.png: the completion of the lowest loss, decoded as a whole. blended/MASK/: the same with the visible pixels as they
    were. occluded/MASK/ and original/: what was given. restarts/MASK/: all restarts side by side, best first.
    comparison/MASK/: pages with one row an image. completions.json: settings and losses of every restart.
    """
    for name in masks:
        if name in TAKEN:
            raise UserError(f"--mask {name}: this name is kept for a sub-folder, rename the PNG")
    report: dict[str, Any] = {
        "format": FORMAT,
        "run": run,
        "search": dataclasses.asdict(search),
        "feather": feather,
        "masks": {},
    }
    seconds = 0.0
    with new_folder(out) as folder:
        _save(folder / "original", images.names, images.x)
        for name, mask in masks.items():
            begun = time.perf_counter()
            found = _complete(model, discriminator, images.x, mask, search, lambda *at, what=name: progress(what, *at))
            seconds += time.perf_counter() - begun
            _write_mask(folder, name, images, mask, found, feather)
            report["masks"][name] = _losses(images, mask, found)
        rate = len(images.names) * len(masks) / seconds
        report["images_per_second"] = rate
        write_text(folder / "completions.json", json.dumps(report, indent=1) + "\n")
    return rate


def _complete(
    model: Autoencoder,
    discriminator: Discriminator | None,
    x: Float[Tensor, "b c h w"],
    mask: Float[Tensor, "h w"],
    search: Search,
    progress: Callable[[int, int], None],
) -> Completions:
    """All images, as many at once as fit; an image's draws follow from its place among all of them."""
    parts = x.split(max(1, ROWS_AT_ONCE // search.restarts))
    found, first = [], 0
    for index, part in enumerate(parts):
        found.append(
            complete(
                model, part, mask, discriminator, search, first=first,
                progress=lambda step, most, done=index: progress(done * most + step, len(parts) * most),
            )
        )  # fmt: skip
        progress((index + 1) * search.steps, len(parts) * search.steps)
        first += len(part)
    losses = {name: torch.cat([part.losses[name] for part in found]) for name in found[0].losses}
    images, z, steps = (torch.cat([getattr(part, name) for part in found]) for name in ("images", "z", "steps"))
    return Completions(images, z, losses, steps)


def _write_mask(
    folder: Path, name: str, images: Images, mask: Float[Tensor, "h w"], found: Completions, feather: float
) -> None:
    wide = mask[None, None]
    blended = blend(found.best, images.x, wide, feather)
    occluded = occlude(images.x, wide)
    _save(folder / name, images.names, found.best)
    _save(folder / "blended" / name, images.names, blended)
    _save(folder / "occluded" / name, images.names, occluded)
    restarts = to_8_bit(found.images)
    for directory in ("restarts", "comparison"):
        (folder / directory / name).mkdir(parents=True)
    for label, row in zip(images.names, restarts, strict=True):
        save_picture(labelled_grid(row[None]), folder / "restarts" / name / f"{label}.png")
    shown = to_8_bit(torch.stack([images.x, occluded, found.best, blended], 1))
    labels = [label[:20] for label in images.names]
    for page, first in enumerate(range(0, len(shown), PAGE), 1):
        rows = slice(first, first + PAGE)
        grid = labelled_grid(shown[rows], labels[rows], ["original", "occluded", "completed", "blended"])
        save_picture(grid, folder / "comparison" / name / f"{page:03d}.png")


def _save(folder: Path, names: list[str], x: Float[Tensor, "b c h w"]) -> None:
    folder.mkdir(parents=True)
    for name, image in zip(names, to_8_bit(x), strict=True):
        save_png(image, folder / f"{name}.png")


def _losses(images: Images, mask: Float[Tensor, "h w"], found: Completions) -> dict[str, Any]:
    """By image a list of restarts, best first. `hidden_error`: mean squared, against the original's hidden pixels."""
    hidden = (1 - mask).bool()
    errors = (found.images - images.x[:, None]).square()[..., hidden].mean((2, 3))  # b r
    values = {**{name: part.tolist() for name, part in found.losses.items()}, "hidden_error": errors.tolist()}
    values["steps"] = found.steps.tolist()
    return {
        name: [{key: part[index][restart] for key, part in values.items()} for restart in range(found.steps.shape[1])]
        for index, name in enumerate(images.names)
    }
