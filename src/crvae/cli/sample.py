"""`crvae sample RUN --count N --seed S --out DIR-or-PNG`: images from the prior."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from crvae.cli.parsing import parse
from crvae.errors import UserError

GRID = 10_000
"""The most images of one grid."""


@dataclass
class Sample:
    """Draw images from the prior."""

    run: tyro.conf.Positional[str]
    """A run, an exported folder, or the name of a built-in model."""
    out: Path
    """A name that ends in .png for one grid; else a new folder for one PNG an image."""
    count: int = 64
    """Number of images."""
    seed: int = 0
    """The same seed gives the same images, and the first of them whatever --count."""


def run(args: list[str]) -> int:
    """Writes the samples."""
    command = parse(Sample, args, name="sample")
    grid = command.out.suffix.lower() == ".png"
    if not 1 <= command.count <= (GRID if grid else 10_000_000):
        raise UserError(
            f"--count must be from 1 to {GRID} for one PNG, to 10 million for a folder, got {command.count}"
        )
    if not 0 <= command.seed < 2**63:
        raise UserError(f"--seed must be from 0 to 2^63 - 1, got {command.seed}")

    import math

    import torch
    from rich.console import Console
    from rich.progress import track
    from torchvision.utils import make_grid

    from crvae.devices import best_device
    from crvae.files import check_new_folder, new_folder
    from crvae.pictures import save_png
    from crvae.storage.models import load
    from crvae.tasks.grids import check_picture_path
    from crvae.tasks.sampling import samples

    check_picture_path(command.out) if grid else check_new_folder(command.out)
    batches = samples(load(command.run, best_device()), command.count, command.seed)
    if grid:
        columns = min(16, math.ceil(math.sqrt(command.count)))
        save_png(make_grid(torch.cat(list(batches)), nrow=columns, padding=2, pad_value=255), command.out)
    else:
        images = (image for batch in batches for image in batch)
        steps = track(images, "sampling", command.count, console=Console(stderr=True), transient=True)
        with new_folder(command.out) as folder:
            for index, image in enumerate(steps):
                save_png(image, folder / f"{index:06d}.png")
    print(f"{command.out}: {command.count:,} samples", file=sys.stderr)
    return 0
