"""`crvae decode LATENTS`: a file of latents back to images."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from crvae.cli.parsing import parse
from crvae.files import check_new_folder, new_folder
from crvae.progress import progress, told


@dataclass
class Decode:
    """Turn what `crvae encode` wrote back into images, one PNG each."""

    latents: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="LATENTS")]
    """The file."""
    out: Path | None = None
    """New folder; by default the file's name without its ending."""
    run: str = ""
    """The model, if it is no longer where it was when the file was made."""
    steps: int | None = None
    """Use only the first blocks, as many time steps as this; by default all that are in the file."""


def run(args: list[str]) -> int:
    """Writes the images."""
    command = parse(Decode, args, name="decode")
    out = command.out or command.latents.with_suffix("")
    check_new_folder(out)

    import torch

    from crvae.devices import best_device
    from crvae.models.autoencoder import SAMPLE_BATCH
    from crvae.pictures import save_image, to_8_bit
    from crvae.storage.models import load
    from crvae.tasks.inputs import distinct
    from crvae.tasks.latents import load_latents
    from crvae.tasks.traversal import decode_all

    latents = load_latents(command.latents)
    model = load(command.run or latents.run, best_device())
    z = latents.z(model, command.steps).to(model.device)
    with progress() as advance, new_folder(out) as folder:
        parts = told(z.split(SAMPLE_BATCH), "decoding", len(z), advance)
        images = torch.cat([decode_all(model, part) for part in parts])
        for name, image in zip(distinct(latents.names), to_8_bit(images), strict=True):
            save_image(image, folder / f"{name}.png")
    print(f"{out}: {len(images):,} images", file=sys.stderr)
    return 0
