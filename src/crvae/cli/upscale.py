"""`crvae upscale RUN2 --images PATH --out DIR`: small images to large ones."""

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
from crvae.files import check_new_folder, new_folder
from crvae.progress import progress, waiting
from crvae.storage.folders import check_run


@dataclass
class Upscale:
    """Enlarge your own small images with the network of a Stage2 run."""

    run: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    """A Stage2 run or an exported folder."""
    images: str
    """Prepared data (their validation images), a folder of images, or one image; cut and scaled to Stage1's size first."""
    out: Path
    """New folder for one PNG an image."""
    count: int = 10_000
    """The most images."""
    pixel_limit: float = 200.0
    """Image files above this many megapixels are skipped undecoded."""


def run(args: list[str]) -> int:
    """Writes the large images."""
    command = parse(Upscale, args, name="upscale")
    if not 1 <= command.count <= 1_000_000:
        raise UserError(f"--count must be from 1 to 1 million, got {command.count}")
    check_new_folder(command.out)
    check_run(command.run)

    with waiting("loading"):
        from crvae.devices import best_device
        from crvae.pictures import save_image
        from crvae.tasks.upscaling import load_upsampler, upscale

    model = load_upsampler(command.run, best_device())
    with progress() as advance, new_folder(command.out) as folder:
        images = images_of(
            command.images,
            model.stage1,
            option="--images",
            limit=command.count,
            pixel_limit=command.pixel_limit,
            progress=advance,
        )
        for done, (name, image) in enumerate(zip(images.names, upscale(model, images.x), strict=True), 1):
            save_image(image, folder / f"{name}.png")
            advance("upsampling", done, len(images.names))
    small, large = model.input_shape[-1], model.image_shape[-1]
    print(f"{command.out}: {counted(len(images.names), 'image')}, {small} to {large} pixels", file=sys.stderr)
    return 0
