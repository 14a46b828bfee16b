"""What is scored: a run, whose samples are taken as a user would save them, or a folder of images that someone saved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from crvae.data import Split
from crvae.data.images import Form
from crvae.errors import UserError
from crvae.models.autoencoder import Autoencoder
from crvae.storage.models import load
from crvae.tasks.inputs import open_picture
from crvae.tasks.sampling import samples

MODEL_FILES = ("config.yaml", "config.json", "model", "card.json")
"""A folder with one of these is not a folder of images."""


@dataclass(frozen=True)
class Subject:
    """A model, or images in the order of their names."""

    name: str
    model: nn.Module | None
    files: tuple[Path, ...] = ()

    @property
    def autoencoder(self) -> Autoencoder | None:
        """The Stage1 model, where it is one."""
        return self.model if isinstance(self.model, Autoencoder) else None

    def images(self, count: int, seed: int) -> UInt8[Tensor, "n c h w"]:
        """`count` samples from the prior, or the first `count` files, 8-bit. Raises UserError if there are too few."""
        if self.model is not None:
            return torch.cat(list(samples(self.model, count, seed)))  # type: ignore[arg-type]
        if len(self.files) < count:
            raise UserError(
                f"{self.name} has {len(self.files)} images, --images {count} needs more: add images or ask for fewer"
            )
        images = [_read(file) for file in self.files[:count]]
        for file, image in zip(self.files, images, strict=False):
            if image.shape != images[0].shape:
                raise UserError(f"{file} is not of the size and colour of {self.files[0]}: score images of one kind")
        return torch.stack(images)


def open_subject(run: str, device: torch.device, prior: Literal["own", "normal"] = "own") -> Subject:
    """RUN as a user types it: a folder of PNG images, or anything that holds a model, with its own prior or N(0, I).

    Raises UserError if it is neither.
    """
    folder = Path(run)
    if folder.is_dir() and not any((folder / name).exists() for name in MODEL_FILES):
        files = tuple(sorted(path for path in folder.iterdir() if path.suffix.lower() == ".png" and path.is_file()))
        if not files:
            raise UserError(f"{run} holds neither a model nor PNG images: give a run, or a folder of images")
        return Subject(run, None, files)
    return Subject(run, load(run, device, prior))


def checked_size(split: Split, channels: int, size: tuple[int, ...] | torch.Size) -> int:
    """Raises UserError if `split` holds no square images of this size and colour; else returns the size, in pixels."""
    card = split.data.card
    if card.channels != channels or size[0] != size[1] or size[0] not in card.sizes:
        colours, stored = {1: "grey", 3: "colour"}, " and ".join(map(str, card.sizes))
        raise UserError(
            f"{split.data.path} holds {colours[card.channels]} images of {stored} pixels, what is scored is {colours[channels]} "
            f"of {size[0]}x{size[1]}: prepare the data with --size {size[0]} --channels {channels}"
        )
    return size[0]


def _read(file: Path) -> UInt8[Tensor, "c h w"]:
    """One image file as it is, grey or colour."""
    image = torch.from_numpy(np.array(open_picture(file, Form(sizes=(1,))))).permute(2, 0, 1)
    with file.open("rb") as data:
        grey = data.read(26)[25:] in (b"\0", b"\4")  # PNG's colour type
    return image[:1] if grey else image
