"""The images that a task is given: prepared data, a folder of image files, or one file, at the model's size."""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from PIL import Image
from torch import Tensor

from crvae.data.accounts import Tally, describe
from crvae.data.images import PIXELS, Form, Unusable, decode, scale
from crvae.data.prepared import PreparedData, open_data
from crvae.data.source import read_file as read_bytes
from crvae.data.sources.folder import files_below, holds_prepared
from crvae.data.sources.tree import EXTENSIONS, is_image, no_image
from crvae.errors import UserError, reason
from crvae.models.model import Model
from crvae.pictures import from_8_bit
from crvae.progress import Progress, silent

NAME_BYTES = 200
"""The most bytes of an image's name, in UTF-8, before it is numbered."""


@dataclass(frozen=True)
class Images:
    """Images with names that differ and are fit for files."""

    x: Float[Tensor, "b c h w"]
    """In [-1, 1]."""
    names: list[str]
    labels: Int64[Tensor, " b"] | None = None
    """Classes of prepared data that have a `label` column."""
    skipped: tuple[str, ...] = ()
    """A sentence for each file of a folder that could not be used."""
    not_looked_at: tuple[str, ...] = ()
    """A line for each kind of other file in a folder."""
    boxes: dict[str, tuple[float, float, float, float]] = field(default_factory=dict)
    """Where the card of prepared data says that parts lie: top, left, bottom, right, as fractions of the image."""


def read_images(
    source: str,
    model: Model,
    *,
    option: str,
    limit: int,
    pixels: int = PIXELS,
    progress: Progress = silent,
) -> Images:
    """The first `limit` images of `source`, at the model's size and channels.

    Prepared data give their validation images (else test, else training ones), and must be stored at the model's size.
    Image files are found, decoded, cut to their largest centred square and scaled as `crvae prepare` does; a folder's are taken
    in the order of their paths, and those that cannot be used, or have more than `pixels`, are skipped. Raises UserError, naming
    `option`, for anything that gives no images.
    """
    channels, size, _ = model.image_shape
    if not source:
        raise UserError(f"{option} is empty: give prepared data, a folder of images, or an image")
    path = Path(source)
    if _is_prepared(source):
        return _prepared(source, channels, size, limit)
    if path.is_file():
        return Images(read_file(path, channels, size, pixels)[None], distinct([path.name]))
    if not path.is_dir():
        raise UserError(f"{option} {source} does not exist: give prepared data, a folder of images, or an image")
    tally = Tally()
    names = []
    for name in files_below(path, tally):
        names.append(name) if is_image(name) else tally.add(no_image(name), name)
    names.sort()
    if not names:
        raise UserError(f"{option} {source} holds neither prepared data nor image files: give a folder that does")
    found: dict[str, Tensor] = {}
    skipped: list[str] = []
    total = min(limit, len(names))
    for name in names:
        progress("reading images", len(found), total)
        if len(found) == limit:
            break
        try:
            found[name] = read_file(path / name, channels, size, pixels)
        except UserError as error:
            skipped.append(str(error))
    if not found:
        raise UserError(f"{option} {source} has no usable image; the first of {len(skipped):,}: {skipped[0]}")
    return Images(
        torch.stack(list(found.values())), distinct(list(found)), None, tuple(skipped), tuple(describe(tally))
    )


def boxes_of(source: str) -> dict[str, tuple[float, float, float, float]]:
    """Where parts lie in the images of `source`, by the card of prepared data; empty for images that have none."""
    return dict(open_data(source).card.boxes) if _is_prepared(source) else {}


def read_file(file: Path, channels: int, size: int, pixels: int = PIXELS) -> Float[Tensor, "c h w"]:
    """One image file as `crvae prepare` would store it. Raises UserError if it is not an image."""
    form = Form(sizes=(size,), channels=1 if channels == 1 else 3, pixel_limit=pixels)
    return squared(open_picture(file, form, shrink=True), form)


def squared(picture: Image.Image, form: Form) -> Float[Tensor, "c h w"]:
    """The part of a picture that `form` takes, scaled, as an image in [-1, 1]."""
    pixels = np.array(scale(picture, form)[0])
    return from_8_bit(torch.from_numpy(pixels.reshape(*pixels.shape[:2], form.channels)).permute(2, 0, 1))


def open_picture(file: Path, form: Form, *, shrink: bool = False, paper: str = "white") -> Image.Image:
    """One image file as it is, 8-bit, by the rules of `crvae prepare`. Raises UserError for one that breaks them."""
    try:
        return decode(read_bytes(file, form.byte_limit), form, shrink=shrink, paper=paper)
    except Unusable as error:
        raise UserError(f"{file} {error}: replace or remove it") from None
    except OSError as error:
        raise UserError(f"{file} cannot be read: {reason(error)}") from None


def distinct(names: list[str]) -> list[str]:
    """Names for files, without an image's ending: letters, digits, dots, dashes; numbered where two would be alike.

    At most 100 characters and 200 bytes, and 7 more if numbered: with an ending they stay below the 255 bytes of file systems.
    """
    bare = [name[: name.rindex(".")] if name.lower().endswith(EXTENSIONS) else name for name in names]
    clean = [_clean(name)[:100].encode()[:NAME_BYTES].decode(errors="ignore") or "image" for name in bare]
    if len({name.lower() for name in clean}) == len(clean):
        return clean
    return [f"{index:06d}-{name}" for index, name in enumerate(clean)]


def _clean(name: str) -> str:
    """Letters with the marks on them, digits, `_`, `.` and `-` stay; what else there is becomes a dash."""
    kept = ""
    for character in unicodedata.normalize("NFC", name):
        mark = unicodedata.category(character).startswith("M") and not kept.endswith("\0")
        kept += character if mark or character.isalnum() or character in "_.-" else "\0"
    return re.sub("\0+", "-", kept).strip("-.")


def _is_prepared(source: str) -> bool:
    try:
        return "://" in source or holds_prepared(os.listdir(source))
    except (OSError, ValueError):  # a file, nothing at all, a name that none can have, or a folder that cannot be read
        return False


def _prepared(source: str, channels: int, size: int, limit: int) -> Images:
    data = open_data(source)
    check_form(data, channels, size)
    card = data.card
    split = data.split(next(name for name in ("validation", "test", *card.splits) if name in card.splits))
    rows = range(min(limit, len(split)))
    labels = split.labels(rows) if "label" in card.columns else None
    return Images(from_8_bit(split.images(rows, size=size)), distinct(split.keys(rows)), labels, boxes=dict(card.boxes))


def check_form(data: PreparedData, channels: int, size: int) -> None:
    """Raises UserError if the data hold no images of a model's channels and size."""
    card = data.card
    if size not in card.sizes or channels != card.channels:
        stored, colours = " and ".join(map(str, card.sizes)), {1: "grey", 3: "colour"}
        raise UserError(
            f"{data.path} holds {colours[card.channels]} images of {stored} pixels, the model has {colours[channels]} images of "
            f"{size}: prepare the data with --size {size} --channels {channels}"
        )
