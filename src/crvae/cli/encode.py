"""`crvae encode RUN --images PATH OUT`: images to latents, as a file."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from crvae.cli.parsing import parse
from crvae.cli.reading import images_of
from crvae.errors import UserError
from crvae.files import check_new_file
from crvae.progress import progress, told


@dataclass
class Encode:
    """Write the latents of images, the means of their posteriors, to a file that `crvae decode` turns back."""

    run: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    """A run, an exported folder, or the name of a built-in model."""
    out: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="OUT")]
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
    check_new_file(command.out, "OUT", (".safetensors",))

    import torch

    from crvae.devices import best_device
    from crvae.models.autoencoder import SAMPLE_BATCH
    from crvae.models.gaussian import blocks
    from crvae.storage.models import load
    from crvae.tasks.latents import Latents, save_latents
    from crvae.tasks.profiling import posterior_of
    from crvae.tasks.traversal import steps_of

    model = load(command.run, best_device())
    total = steps_of(model)
    if command.steps is not None and not 1 <= command.steps <= total:
        raise UserError(f"--steps must be from 1 to {total}, the model's time steps, got {command.steps}")
    with progress() as advance:
        images = images_of(command.images, model, option="--images", limit=command.count, progress=advance)
        parts = told(images.x.split(SAMPLE_BATCH), "encoding", len(images.x), advance)
        mean = torch.cat([posterior_of(model, part).mean.cpu() for part in parts])
    kept = blocks(mean, total)[:, : command.steps]
    save_latents(Latents(kept, images.names, command.run), command.out)
    print(f"{command.out}: {len(kept):,} images, {kept.shape[1]} of {total} blocks", file=sys.stderr)
    return 0
