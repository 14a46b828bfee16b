"""`crvae upscale RUN2 --images PATH --out DIR`: small images to large ones."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from crvae.cli.parsing import parse
from crvae.errors import UserError


@dataclass
class Upscale:
    """Enlarge your own small images with the network of a Stage2 run."""

    run: tyro.conf.Positional[str]
    """A Stage2 run or an exported folder."""
    images: str
    """Prepared data (their validation images), a folder of images, or one image; cut and scaled to Stage1's size first."""
    out: Path
    """New folder for one PNG an image."""
    count: int = 10_000
    """The most images."""


def run(args: list[str]) -> int:
    """Writes the large images."""
    command = parse(Upscale, args, name="upscale")
    if not 1 <= command.count <= 1_000_000:
        raise UserError(f"--count must be from 1 to 1 million, got {command.count}")

    from crvae.cli.progress import progress
    from crvae.devices import best_device
    from crvae.files import check_new_folder, new_folder
    from crvae.pictures import save_png
    from crvae.tasks.inputs import read_images
    from crvae.tasks.upscaling import load_upsampler, upscale

    check_new_folder(command.out)
    model = load_upsampler(command.run, best_device())
    images = read_images(command.images, model.stage1, option="--images", limit=command.count)
    with new_folder(command.out) as folder, progress() as advance:
        for done, (name, image) in enumerate(zip(images.names, upscale(model, images.x), strict=True), 1):
            save_png(image, folder / f"{name}.png")
            advance("upsampling", done, len(images.names))
    small, large = model.input_shape[-1], model.image_shape[-1]
    print(f"{command.out}: {len(images.names):,} images, {small} to {large} pixels", file=sys.stderr)
    return 0
