"""Images in rows and columns that say what they are: as one picture, or as an animation."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from crvae.files import write_bytes
from crvae.pictures import as_picture, check_size, lettered

GAP = 2
"""Pixels of white between images."""
TEXT = 13
"""Height of the labels, in pixels."""
TOP = TEXT + 3 * GAP
"""Height of the line of labels above the columns."""


def labelled_grid(
    images: UInt8[Tensor, "r k c h w"], rows: Sequence[str] = (), columns: Sequence[str] = ()
) -> Image.Image:
    """`r` rows of `k` images with their labels at the left and above; images below 64 pixels are enlarged without smoothing."""
    height, width = _shown(*images.shape[-2:])
    rows, columns = [[lettered(label) for label in labels] for labels in (rows, columns)]
    font = ImageFont.load_default(TEXT)
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    left = 2 * GAP + max((round(measure.textlength(row, font)) for row in rows), default=-2 * GAP)
    top = TOP if columns else 0
    canvas = Image.new("RGB", _around(len(images), len(images[0]), height, width, left, top), "white")
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


def columns_size(rows: int, columns: int, height: int, width: int) -> tuple[int, int]:
    """Width and height of the `labelled_grid` of so many images of these pixels, with labels above and none at the left."""
    return _around(rows, columns, *_shown(height, width), 0, TOP)


def _shown(height: int, width: int) -> tuple[int, int]:
    """Height and width at which an image of so many pixels is shown."""
    factor = -(-64 // width)
    return height * factor, width * factor


def _around(rows: int, columns: int, height: int, width: int, left: int, top: int) -> tuple[int, int]:
    return left + columns * (width + GAP) + GAP, top + rows * (height + GAP) + GAP


def save_animation(frames: Sequence[Image.Image], path: Path, seconds: float = 0.25) -> None:
    """Writes an endless animation, GIF or WebP as `path` ends, each frame shown for `seconds`; whole or not at all.

    Raises UserError as `check_size`.
    """
    check_size(frames[0].size, path.suffix, str(path))
    kind = {".gif": "GIF", ".webp": "WEBP"}[path.suffix.lower()]
    lossless = {"lossless": True} if kind == "WEBP" else {}
    buffer, (first, *others) = io.BytesIO(), frames
    first.save(buffer, kind, save_all=True, append_images=others, duration=round(1000 * seconds), loop=0, **lossless)
    write_bytes(path, buffer.getvalue())
