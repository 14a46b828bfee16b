"""`crvae complete RUN --images PATH --mask NAMES --out DIR`: fills the hidden part of images (section 4.4)."""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from crvae.cli.parsing import parse
from crvae.errors import UserError


@dataclass
class Complete:
    """Fill the hidden part of images, by searching the latents whose images agree with the visible part."""

    run: tyro.conf.Positional[str]
    """A run, or a folder that was exported with its discriminator."""
    images: str
    """Prepared data (their validation images), a folder of images, or one image."""
    mask: str
    """What is hidden, separated by commas: right-half, upper, lower, center, eyes, mouth; a rectangle
    top:left:bottom:right as fractions; or a square PNG, black where pixels are hidden."""
    out: Path
    """New folder: completions as MASK/NAME.png, beside them blended/, occluded/, original/, restarts/, comparison/
    and completions.json."""
    count: int = 128
    """The most images, the first ones."""
    gamma: float = 2.5
    """Weight of -log N(z; 0, I), in nats, against squared errors summed over an image in [-1, 1]."""
    tau: float = 20.0
    """Weight of log(1 - D); 0 works without a discriminator."""
    steps: int = 150
    """The most steps; a restart that no longer improves stops before."""
    rate: float = 0.2
    """Adam's learning rate; lbfgs: size of the first step, a value."""
    restarts: int = 2
    """Starting points for every image."""
    start: Literal["prior", "posterior"] = "prior"
    """Start from the prior, or from the posterior of the image with its hidden pixels in one colour."""
    optimiser: Literal["adam", "lbfgs"] = "adam"
    """adam, or L-BFGS with a line search for every image."""
    feather: float = 0.0
    """Soften the blended images' seam over this many pixels, on the hidden side."""
    seed: int = 0
    """Seed of the starting points."""


def run(args: list[str]) -> int:
    """Writes the folder."""
    command = parse(Complete, args, name="complete")
    for option, least, most in (
        ("count", 1, 100_000),
        ("gamma", 0, 1e9),
        ("tau", 0, 1e9),
        ("steps", 1, 100_000),
        ("rate", 1e-9, 1e3),
        ("restarts", 1, 1_000),
        ("feather", 0, 64),
        ("seed", 0, 2**62),
    ):
        value = getattr(command, option)
        if not least <= value <= most:
            raise UserError(f"--{option} must be from {least} to {most:,}, got {value}")

    from crvae.cli.progress import progress
    from crvae.devices import best_device
    from crvae.files import check_new_folder
    from crvae.models.autoencoder import Autoencoder
    from crvae.storage.models import load, load_discriminator
    from crvae.tasks.completion import Search
    from crvae.tasks.completion_folder import Job, write
    from crvae.tasks.inputs import read_images
    from crvae.tasks.occlusion import masks

    check_new_folder(command.out)
    device = best_device()
    model = load(command.run, device)
    if not isinstance(model, Autoencoder):
        raise UserError(f"{command.run} is a Stage2 run: complete with its Stage1, then `crvae upscale`")
    chosen = masks(command.mask, model.config.size)
    discriminator = load_discriminator(command.run, device) if command.tau else None
    images = read_images(command.images, model, option="--images", limit=command.count)
    search = Search(
        gamma=command.gamma,
        tau=command.tau,
        steps=command.steps,
        rate=command.rate,
        restarts=command.restarts,
        start=command.start,
        optimiser=command.optimiser,
        seed=command.seed,
    )
    job = Job(command.run, model, discriminator, images, chosen, search, command.feather)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with progress() as advance:
            rate = write(job, command.out, advance)
    except KeyboardInterrupt:
        print("crvae: interrupted; the same command goes on behind the masks that are done", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)
    print(f"{command.out}: {len(images.names):,} images, {len(chosen)} masks, {rate:.2f} images/s", file=sys.stderr)
    return 0
