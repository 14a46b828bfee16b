"""What is scored: a run, whose samples are taken as a user would save them, or a folder of images that someone saved."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from crvae.data import Split
from crvae.data.images import PIXELS, Form, is_grey, pixels
from crvae.data.source import read_file
from crvae.data.sources.tree import is_image, is_picture_folder
from crvae.errors import UserError
from crvae.models.autoencoder import Autoencoder
from crvae.storage.folders import WhichPrior
from crvae.storage.models import load
from crvae.tasks.inputs import open_picture
from crvae.tasks.sampling import samples


@dataclass(frozen=True)
class Subject:
    """A model, or images in the order of their names."""

    name: str
    model: nn.Module | None
    files: tuple[Path, ...] = ()
    beside: tuple[str, ...] = ()
    """What else lies in the folder: names that are not looked at."""
    pixels: int = PIXELS
    """The most of a file's image."""

    @property
    def autoencoder(self) -> Autoencoder | None:
        """The Stage1 model, where it is one."""
        return self.model if isinstance(self.model, Autoencoder) else None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one image, (c, h, w): the model's, or the first file's. Raises UserError if that is not an image."""
        if self.model is not None:
            return self.model.image_shape  # type: ignore[return-value]
        channels, height, width = _read(self.files[0], self.pixels).shape
        return channels, height, width

    def images(self, count: int, seed: int) -> UInt8[Tensor, "n c h w"]:
        """`count` samples from the prior, or the first `count` files, 8-bit; grey ones are colour where another one is.

        `count` is at most the number of files. Raises UserError if one differs in size.
        """
        if self.model is not None:
            return torch.cat(list(samples(self.model, count, seed)))  # type: ignore[arg-type]
        images = [_read(file, self.pixels) for file in self.files[:count]]
        for file, image in zip(self.files, images, strict=False):
            if image.shape[1:] != images[0].shape[1:]:
                raise UserError(f"{file} is not of the size of {self.files[0]}: score images of one size")
        channels = max(map(len, images))
        return torch.stack([image.expand(channels, -1, -1) for image in images])


def open_subject(
    run: str, device: torch.device, prior: WhichPrior = "own", pixel_limit: float = PIXELS / 1e6
) -> Subject:
    """RUN as a user types it: a folder of images, or anything that holds a model, with its own prior or N(0, I).

    A folder's images are those directly in it, none above `pixel_limit` megapixels. Raises UserError if it is neither.
    """
    folder = Path(run)
    if is_picture_folder(folder):
        names = sorted(os.listdir(folder))
        found = [name for name in names if is_image(name) and (folder / name).is_file()]
        if not found:
            raise UserError(f"{run} holds neither a model nor images: give a run, or a folder of images")
        beside = tuple(name for name in names if name not in found)
        return Subject(run, None, tuple(folder / name for name in found), beside, pixels(pixel_limit))
    return Subject(run, load(run, device, prior))


def check_fits(split: Split, subject: Subject) -> None:
    """Raises UserError, naming the subject, if `split` holds no images of its size and colour.

    Of a folder's colour a grey file says nothing: another file may have some.
    """
    channels, *size = subject.shape
    if subject.model is None:
        channels = max(channels, split.data.card.channels)
    checked_size(split, channels, tuple(size), f"what is scored, {subject.name},")


def checked_size(
    split: Split, channels: int, size: tuple[int, ...] | torch.Size, scored: str = "what is scored"
) -> int:
    """Raises UserError if `split` holds no square images of this size and colour; else returns the size, in pixels."""
    card = split.data.card
    if card.channels != channels or size[0] != size[1] or size[0] not in card.sizes:
        colours, stored = {1: "grey", 3: "colour"}, " and ".join(map(str, card.sizes))
        raise UserError(
            f"{split.data.path} holds {colours[card.channels]} images of {stored} pixels, {scored} is {colours[channels]} "
            f"of {size[0]}x{size[1]}: prepare the data with --size {size[0]} --channels {channels}"
        )
    return size[0]


def _read(file: Path, pixels: int) -> UInt8[Tensor, "c h w"]:
    """One image file as it is, grey or colour."""
    form = Form(sizes=(1,), pixel_limit=pixels)
    image = torch.from_numpy(np.array(open_picture(file, form))).permute(2, 0, 1)
    return image[:1] if is_grey(read_file(file, form.byte_limit)) else image
