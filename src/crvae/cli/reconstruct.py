"""`crvae reconstruct RUN --data DATA-or-images --out PNG`: originals beside their reconstructions."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from crvae.cli.parsing import parse
from crvae.cli.reading import images_of
from crvae.counting import counted
from crvae.errors import UserError
from crvae.files import PICTURES
from crvae.outputs import check_new_file
from crvae.progress import progress, told, waiting
from crvae.storage.folders import check_run

PAIRS = 4
"""Originals with their reconstructions in one row."""


@dataclass
class Reconstruct:
    """Originals beside their reconstructions, in one picture."""

    run: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    """A run, an exported folder, a built-in model or hub:OWNER/NAME."""
    data: str
    """Prepared data (their validation images), a folder of images, or one image."""
    out: Path
    """The picture: .png, .jpg or .webp."""
    count: int = 32
    """Number of images, the first ones."""
    pixel_limit: float = 200.0
    """Image files above this many megapixels are skipped undecoded."""


def run(args: list[str]) -> int:
    """Writes the picture and prints the mean squared error."""
    command = parse(Reconstruct, args, name="reconstruct")
    if not 1 <= command.count <= 10_000:
        raise UserError(f"--count must be from 1 to 10,000, got {command.count}")
    check_new_file(command.out, endings=PICTURES, reads=(check_run(command.run), command.data))

    with waiting("loading"):
        import torch

        from crvae.devices import best_device
        from crvae.pictures import check_size, save_picture, to_8_bit
        from crvae.storage.models import load
        from crvae.tasks.grids import columns_size, labelled_grid

    model = load(command.run, best_device())
    with progress() as advance:
        x = images_of(
            command.data, model, option="--data", limit=command.count, pixel_limit=command.pixel_limit, progress=advance
        ).x
        columns = 2 * min(PAIRS, len(x))
        size = columns_size(-(-2 * len(x) // columns), columns, *x.shape[-2:])
        check_size(size, command.out.suffix, f"--out {command.out}")
        parts = told(x.split(128), "reconstructing", len(x), advance)
        x_hat = torch.cat([model.reconstruct(part.to(model.device)).cpu() for part in parts])
    pairs = to_8_bit(torch.stack([x, x_hat], 1)).flatten(0, 1)
    missing = -len(pairs) % columns
    rows = torch.cat([pairs, pairs.new_full((missing, *pairs.shape[1:]), 255)]).unflatten(0, (-1, columns))
    save_picture(labelled_grid(rows, columns=["original", "decoded"] * (columns // 2)), command.out)
    error = (x_hat - x).square().mean().item()
    print(
        f"{command.out}: {counted(len(x), 'image')}, mean squared error {error:.4f} (images in [-1, 1])",
        file=sys.stderr,
    )
    return 0
