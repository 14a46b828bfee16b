"""The models that the page shows, side by side where there are two."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from crvae.errors import UserError
from crvae.models.autoencoder import Autoencoder
from crvae.models.discriminator import Discriminator
from crvae.models.model import Model, stage1_of
from crvae.models.upsampler import Upsampler
from crvae.storage.folders import WhichPrior
from crvae.storage.models import has_discriminator, load, load_discriminator, model_folder
from crvae.storage.weights import read_config


@dataclass(frozen=True)
class Exhibit:
    """One of the models."""

    title: str
    model: Model
    discriminator: Discriminator | None
    """Stage1's; None where none was exported, or trained. Completion then goes without."""
    recipe: str = "unknown recipe"
    images: int = 0
    """Seen in training."""

    @property
    def stage1(self) -> Autoencoder:
        return stage1_of(self.model)

    @property
    def upsampler(self) -> Upsampler | None:
        return self.model if isinstance(self.model, Upsampler) else None

    def facts(self) -> dict[str, str]:
        """What is known of it before anything is drawn, by name."""
        config = self.stage1.config
        pixels = f"{config.size} pixels"
        if self.upsampler is not None:
            pixels += f", enlarged to {self.upsampler.config.output_size}"
        kind = "blocks" if self.stage1.latent.ordered else "groups of channels, in no order"
        return {
            "recipe": self.recipe,
            "images trained": f"{self.images:,}",
            "image": pixels,
            "latent": f"{config.latent}, {config.steps} {kind}",
            "prior": self.stage1.prior.title,
            "discriminator": "none" if self.discriminator is None else "yes",
        }


def open_exhibits(runs: list[str], device: torch.device, prior: WhichPrior = "own") -> list[Exhibit]:
    """The models of one or two RUN with this prior, as `crvae.load` takes them.

    Raises UserError if one cannot be loaded, or if their Stage1 images differ in size or channels.
    """
    names = [Path(run.rstrip("/")).name or run for run in runs]
    if len(set(names)) < len(names):
        names = [f"{place}: {name}" for place, name in enumerate(names, 1)]
    exhibits = [_open(name, run, device, prior) for name, run in zip(names, runs, strict=True)]
    shapes = {exhibit.stage1.image_shape for exhibit in exhibits}
    if len(shapes) > 1:
        first, second = ("{} channels of {} by {} pixels".format(*shown.stage1.image_shape) for shown in exhibits)
        raise UserError(
            f"{runs[0]} and {runs[1]} have images of {first} and {second}: compare models of one kind of image"
        )
    return exhibits


def _open(name: str, run: str, device: torch.device, prior: WhichPrior) -> Exhibit:
    model = load(run, device, prior)
    body = read_config(model_folder(run))
    recipe, images = body.get("recipe"), body.get("images")
    return Exhibit(
        name,
        model,
        _discriminator(run, device),
        recipe if isinstance(recipe, str) else Exhibit.recipe,
        images if isinstance(images, int) else Exhibit.images,
    )


def _discriminator(run: str, device: torch.device) -> Discriminator | None:
    """RUN's own, or the one of the Stage1 that a Stage2 run keeps a copy of beside its model."""
    copy = Path(run) / "stage1"
    for name in (run, copy) if copy.is_dir() else (run,):
        if has_discriminator(name):
            found = load_discriminator(name, device)
            return None if found.untrained else found
    return None
