"""`crvae sample RUN --count N --seed S --out DIR-or-PNG`: images from the prior."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from crvae.cli.parsing import parse
from crvae.counting import counted
from crvae.errors import UserError
from crvae.files import PICTURES, check_new_folder, new_folder
from crvae.outputs import check_new_file
from crvae.progress import progress, told, waiting
from crvae.storage.folders import WhichPrior, check_run

OTHERS = (".gif", ".bmp", ".tif", ".tiff", ".svg", ".pdf", ".avif", ".heic")
"""Endings of pictures that are not written: no folder's name ends so."""
GRID = 10_000
"""The most images of one grid."""


@dataclass
class Sample:
    """Draw images from the prior."""

    run: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    """A run, an exported folder, a built-in model or hub:OWNER/NAME."""
    out: Path
    """A name that ends in .png, .jpg or .webp for one grid; else a new folder for one PNG an image."""
    count: int = 64
    """Number of images."""
    seed: int = 0
    """The same seed gives the same images; a larger --count adds to them."""
    prior: WhichPrior = "own"
    """own: the prior that the model was trained with; normal: N(0, I) in the place of a learned one."""


def run(args: list[str]) -> int:
    """Writes the samples."""
    command = parse(Sample, args, name="sample")
    ending = command.out.suffix.lower()
    grid = ending in PICTURES
    if not 1 <= command.count <= (GRID if grid else 10_000_000):
        raise UserError(
            f"--count must be from 1 to {GRID:,} for one picture, to 10 million for a folder, got {command.count}"
        )
    if not 0 <= command.seed < 2**63:
        raise UserError(f"--seed must be from 0 to 2^63 - 1, got {command.seed}")
    if ending in OTHERS:
        raise UserError(f"--out {command.out}: a picture's name must end in {' or '.join(PICTURES)}")
    model_folder = check_run(command.run)
    check_new_file(command.out, reads=[model_folder]) if grid else check_new_folder(command.out)

    import math

    with waiting("loading"):
        import torch

        from crvae.devices import best_device
        from crvae.pictures import check_size, save_image, tiled, tiled_size
        from crvae.storage.models import load
        from crvae.tasks.sampling import samples

    model = load(command.run, best_device(), command.prior)
    columns = min(16, math.ceil(math.sqrt(command.count)))
    if grid:
        _, height, width = model.image_shape
        check_size(tiled_size(command.count, columns, height, width), ending, f"--out {command.out}")
    with progress() as advance:
        batches = told(samples(model, command.count, command.seed), "sampling", command.count, advance)
        if grid:
            save_image(tiled(torch.cat(list(batches)), columns), command.out)
        else:
            with new_folder(command.out) as folder:
                for index, image in enumerate(image for batch in batches for image in batch):
                    save_image(image, folder / f"{index:06d}.png")
    print(f"{command.out}: {counted(command.count, 'sample')}", file=sys.stderr)
    return 0
