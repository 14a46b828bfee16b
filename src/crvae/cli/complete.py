"""`crvae complete RUN --images PATH --mask NAMES --out DIR`: fills the hidden part of images (section 4.4)."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from crvae.cli.parsing import parse
from crvae.cli.reading import images_of
from crvae.cli.stopping import advise
from crvae.counting import counted
from crvae.errors import UserError
from crvae.files import check_new_folder
from crvae.progress import progress, waiting
from crvae.storage.folders import WhichPrior, check_run
from crvae.tasks.search import Optimiser, Search, Start

if TYPE_CHECKING:
    import torch

    from crvae.models.discriminator import Discriminator


@dataclass
class Complete:
    """Fill the hidden part of images, by searching the latents whose images agree with the visible part."""

    run: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    """A run, an exported folder, a built-in model or hub:OWNER/NAME; best with a discriminator."""
    images: str
    """Prepared data (their validation images), a folder of images, or one image."""
    mask: str
    """What is hidden, separated by commas: right-half, upper, lower, center, eyes, mouth. If the card of prepared data
    says where a part lies, that place is used, and every part that it names can be hidden. Or a rectangle
    top:left:bottom:right as fractions; or a square PNG, black where pixels are hidden."""
    out: Path
    """New folder: completions as MASK/NAME.png, beside them blended/, occluded/, original/, restarts/, comparison/
    and completions.json."""
    count: int = 128
    """The most images, the first ones."""
    pixel_limit: float = 200.0
    """Image files above this many megapixels are skipped undecoded."""
    gamma: float | None = Search.gamma
    """Weight of -log p(z) under the prior, in nats, against squared errors summed over an image in [-1, 1]; by default 0.02
    under a learned prior, 2.5 under N(0, I)."""
    tau: float = Search.tau
    """Weight of log(1 - D), 0 where the run has no discriminator, or an untrained one."""
    steps: int = Search.steps
    """The most steps; a restart that no longer improves stops before."""
    rate: float = Search.rate
    """Adam's learning rate; lbfgs: how far the first step moves each latent value."""
    restarts: int = Search.restarts
    """Starting points for every image."""
    start: Start = Search.start
    """Start from the prior, or from the posterior of the image with its hidden pixels in one colour."""
    optimiser: Optimiser = Search.optimiser
    """adam, or L-BFGS with a line search for every image."""
    feather: float = 0.0
    """Soften the blended images' seam over this many pixels, on the hidden side."""
    seed: int = Search.seed
    """Seed of the starting points."""
    prior: WhichPrior = "own"
    """own: the prior that the model was trained with; normal: N(0, I) in the place of a learned one."""


def run(args: list[str]) -> int:
    """Writes the folder."""
    command = parse(Complete, args, name="complete")
    for option, least, most in (("count", 1, 100_000), ("feather", 0, 64)):
        value = getattr(command, option)
        if not least <= value <= most:
            raise UserError(f"--{option} must be from {least} to {most:,}, got {value}")
    search = Search(**{field.name: getattr(command, field.name) for field in fields(Search)})
    check_new_folder(command.out)
    check_run(command.run)

    with waiting("loading"):
        from crvae.devices import best_device
        from crvae.models.autoencoder import Autoencoder
        from crvae.storage.models import load
        from crvae.tasks.completion import weighed
        from crvae.tasks.completion_folder import Job, write
        from crvae.tasks.inputs import boxes_of
        from crvae.tasks.occlusion import masks

    device = best_device()
    model = load(command.run, device, command.prior)
    if not isinstance(model, Autoencoder):
        raise UserError(f"{command.run} is a Stage2 run: complete with its Stage1, then `crvae upscale`")
    chosen = masks(command.mask, model.config.size, boxes_of(command.images))
    discriminator = _discriminator(command, device)
    search = weighed(search if discriminator is not None else replace(search, tau=0.0), model)
    advise(". Run the same command again to complete the remaining masks")
    with progress() as advance:
        images = images_of(
            command.images,
            model,
            option="--images",
            limit=command.count,
            pixel_limit=command.pixel_limit,
            progress=advance,
        )
        job = Job(command.run, model, discriminator, images, chosen, search, command.feather)
        rate = write(job, command.out, advance)
    done = f"{counted(len(images.names), 'image')}, {counted(len(chosen), 'mask')}, {rate:.2f} images/s"
    print(f"{command.out}: {done}", file=sys.stderr)
    return 0


def _discriminator(command: Complete, device: torch.device) -> Discriminator | None:
    """The run's discriminator; None, in words, where it has none or an untrained one, and where it would have no weight."""
    from crvae.storage.models import has_discriminator, load_discriminator

    if not command.tau:
        return None
    found = load_discriminator(command.run, device) if has_discriminator(command.run) else None
    if found is not None and not found.untrained:
        return found
    why = "no discriminator" if found is None else "a discriminator that was never trained"
    print(f"crvae: {command.run} has {why}: completing without it, as with --tau 0", file=sys.stderr)
    return None
