"""The images that a task is given: prepared data, a folder of image files, or one file, at the model's size."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from crvae.data.card import CARD
from crvae.data.images import Form, Unusable, decode, scale
from crvae.data.prepared import open_data
from crvae.data.source import read_file as read_bytes
from crvae.data.sources.tree import is_image
from crvae.errors import UserError
from crvae.models.autoencoder import Autoencoder
from crvae.models.upsampler import Upsampler
from crvae.pictures import from_8_bit


@dataclass(frozen=True)
class Images:
    """Images with names that differ and are fit for files."""

    x: Float[Tensor, "b c h w"]
    """In [-1, 1]."""
    names: list[str]
    labels: Int64[Tensor, " b"] | None = None
    """Classes of prepared data that have a `label` column."""


def read_images(source: str, model: Autoencoder | Upsampler, *, option: str, limit: int) -> Images:
    """The first `limit` images of `source`, at the model's size and channels.

    Prepared data give their validation images (else test, else training ones), and must be stored at the model's size.
    Image files are cut to their largest centred square and scaled as `crvae prepare` does; a folder's are taken in the order of
    their paths. Raises UserError, naming `option`, for anything that gives no images.
    """
    channels, size, _ = model.image_shape
    path = Path(source)
    if "://" in source or (path / CARD).is_file():
        return _prepared(source, channels, size, limit)
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if is_image(p.relative_to(path).as_posix()) and p.is_file())[:limit]
        if not files:
            raise UserError(f"{option} {source} holds neither prepared data nor image files: give a folder that does")
    elif path.is_file():
        files = [path]
    else:
        raise UserError(f"{option} {source} does not exist: give prepared data, a folder of images, or an image")
    root = path if path.is_dir() else path.parent
    x = torch.stack([read_file(file, channels, size) for file in files])
    return Images(x, distinct([str(file.relative_to(root).with_suffix("")) for file in files]))


def read_file(file: Path, channels: int, size: int | None) -> Float[Tensor, "c h w"]:
    """One image file as `crvae prepare` would store it; without `size` as large as it is. Raises UserError where it is none."""
    form = Form(sizes=(size or 1,), channels=_channels(channels))
    try:
        image = decode(read_bytes(file, form), form)
        if size is not None:
            image = scale(image, form)[0]
    except Unusable as error:
        raise UserError(f"{file} {error}: replace or remove it") from None
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from None
    pixels = np.array(image)
    return from_8_bit(torch.from_numpy(pixels.reshape(*pixels.shape[:2], channels)).permute(2, 0, 1))


def distinct(names: list[str]) -> list[str]:
    """Names for files: letters, digits, dots, dashes; numbered where two would be alike."""
    clean = [re.sub(r"[^\w.-]+", "-", name).strip("-.")[:100] or "image" for name in names]
    if len({name.lower() for name in clean}) == len(clean):
        return clean
    return [f"{index:06d}-{name}" for index, name in enumerate(clean)]


def _prepared(source: str, channels: int, size: int, limit: int) -> Images:
    data = open_data(source)
    card = data.card
    if size not in card.sizes or channels != card.channels:
        stored, colours = " and ".join(map(str, card.sizes)), {1: "grey", 3: "colour"}
        raise UserError(
            f"{source} holds {colours[card.channels]} images of {stored} pixels, the model has {colours[channels]} images of "
            f"{size}: prepare the data with --size {size} --channels {channels}"
        )
    split = data.split(next(name for name in ("validation", "test", *card.splits) if name in card.splits))
    rows = range(min(limit, len(split)))
    labels = split.labels(rows) if "label" in card.columns else None
    return Images(from_8_bit(split.images(rows, size=size)), distinct(split.keys(rows)), labels)


def _channels(channels: int) -> Literal[1, 3]:
    return 1 if channels == 1 else 3
