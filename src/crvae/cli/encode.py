"""`crvae encode RUN --images PATH OUT`: images to latents, as a file."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from crvae.cli.parsing import parse
from crvae.errors import UserError


@dataclass
class Encode:
    """Write the latents of images, the means of their posteriors, to a file that `crvae decode` turns back."""

    run: tyro.conf.Positional[str]
    """A run, an exported folder, or the name of a built-in model."""
    out: tyro.conf.Positional[Path]
    """The file, .safetensors."""
    images: str
    """Prepared data (their validation images), a folder of images, or one image."""
    steps: int | None = None
    """Keep only the first blocks, as many time steps as this; by default all."""
    count: int = 10_000
    """The most images."""


def run(args: list[str]) -> int:
    """Writes the file."""
    command = parse(Encode, args, name="encode")
    if not 1 <= command.count <= 1_000_000:
        raise UserError(f"--count must be from 1 to 1 million, got {command.count}")

    from crvae.devices import best_device
    from crvae.models.gaussian import blocks
    from crvae.storage.models import load
    from crvae.tasks.grids import check_picture_path
    from crvae.tasks.inputs import read_images
    from crvae.tasks.latents import Latents, save_latents
    from crvae.tasks.profiling import posterior_of
    from crvae.tasks.traversal import steps_of

    check_picture_path(command.out, "OUT", (".safetensors",))
    model = load(command.run, best_device())
    total = steps_of(model)
    if command.steps is not None and not 1 <= command.steps <= total:
        raise UserError(f"--steps must be from 1 to {total}, the model's time steps, got {command.steps}")
    images = read_images(command.images, model, option="--images", limit=command.count)
    kept = blocks(posterior_of(model, images.x).mean.cpu(), total)[:, : command.steps]
    save_latents(Latents(kept, images.names, command.run), command.out)
    print(f"{command.out}: {len(kept):,} images, {kept.shape[1]} of {total} blocks", file=sys.stderr)
    return 0
