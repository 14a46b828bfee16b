"""Images in rows and columns that say what they are: as one PNG, or as an animation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from crvae.errors import UserError
from crvae.files import whole

GAP = 2
"""Pixels of white between images."""
TEXT = 13
"""Height of the labels, in pixels."""


def labelled_grid(
    images: UInt8[Tensor, "r k c h w"], rows: Sequence[str] = (), columns: Sequence[str] = ()
) -> Image.Image:
    """`r` rows of `k` images with their labels at the left and above; images below 64 pixels are enlarged without smoothing."""
    height, width = images.shape[-2:]
    factor = -(-64 // width)
    height, width = height * factor, width * factor
    font = ImageFont.load_default(TEXT)
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    left = 2 * GAP + max((round(measure.textlength(row, font)) for row in rows), default=-2 * GAP)
    top = TEXT + 3 * GAP if columns else 0
    size = (left + len(images[0]) * (width + GAP) + GAP, top + len(images) * (height + GAP) + GAP)
    canvas = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(canvas)
    for index, label in enumerate(columns):
        centre = left + GAP + index * (width + GAP) + width // 2
        draw.text((centre, top // 2), label, "black", font, anchor="mm")
    for index, row in enumerate(images):
        y = top + GAP + index * (height + GAP)
        if index < len(rows):
            draw.text((GAP, y + height // 2), rows[index], "black", font, anchor="lm")
        for column, image in enumerate(row):
            picture = as_picture(image).resize((width, height), Image.Resampling.NEAREST)
            canvas.paste(picture, (left + GAP + column * (width + GAP), y))
    return canvas


def as_picture(image: UInt8[Tensor, "c h w"]) -> Image.Image:
    """A stored image as Pillow's, in colour."""
    return Image.fromarray(np.ascontiguousarray(image.expand(3, -1, -1).permute(1, 2, 0).numpy()))


def save_picture(picture: Image.Image, path: Path) -> None:
    """Writes a PNG, whole or not at all."""
    with whole(path) as temporary:
        picture.save(temporary, "PNG", optimize=True)


def save_animation(frames: Sequence[Image.Image], path: Path, seconds: float = 0.25) -> None:
    """Writes an endless animation, GIF or WebP as `path` ends, each frame shown for `seconds`; whole or not at all."""
    kind = {".gif": "GIF", ".webp": "WEBP"}[path.suffix.lower()]
    lossless = {"lossless": True} if kind == "WEBP" else {}
    with whole(path) as temporary:
        first, *others = frames
        first.save(
            temporary, kind, save_all=True, append_images=others, duration=round(1000 * seconds), loop=0, **lossless
        )


def check_picture_path(path: Path, option: str = "--out", endings: Sequence[str] = (".png",)) -> None:
    """Raises UserError where `path` has none of the `endings`, or its folder does not exist."""
    if path.suffix.lower() not in endings:
        raise UserError(f"{option} must end in {' or '.join(endings)}, got {path}")
    if not path.parent.is_dir():
        raise UserError(f"{option} {path}: the folder {path.parent} does not exist, create it first")
    if path.is_dir():
        raise UserError(f"{option} {path} is a folder: give the name of a file")
