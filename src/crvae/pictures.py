"""Images as they leave: 8-bit, encoded in memory, written whole."""

from __future__ import annotations

import io
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from crvae.errors import UserError
from crvae.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LONGEST_SIDE = {".webp": 16_383, ".jpg": 65_500, ".jpeg": 65_500, ".gif": 65_535}
"""Ending -> the most pixels that each side of such a picture can have. PNG is not limited."""


def to_8_bit(images: Float[Tensor, "*b c h w"]) -> UInt8[Tensor, "*b c h w"]:
    """Images in [-1, 1] -> stored values round((x + 1) * 127.5), on the CPU."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu()


def from_8_bit(stored: UInt8[Tensor, "*b c h w"]) -> Float[Tensor, "*b c h w"]:
    """Stored values 0..255 -> images in [-1, 1]."""
    return stored.float() / 127.5 - 1


def lettered(text: str) -> str:
    """Text as Pillow's own font, which has ASCII alone, can draw it: without accents, and with ? for other letters."""
    plain = unicodedata.normalize("NFKD", text)
    return "".join(letter if letter.isascii() else "?" for letter in plain if not unicodedata.combining(letter))


def as_picture(image: UInt8[Tensor, "c h w"]) -> Image.Image:
    """A stored image as Pillow's, in colour."""
    return Image.fromarray(np.ascontiguousarray(image.expand(3, -1, -1).permute(1, 2, 0).numpy()))


GAP = 2
"""Pixels of white around each image of a grid."""


def tiled(images: UInt8[Tensor, "b c h w"], columns: int) -> UInt8[Tensor, "3 h w"]:
    """Stored images as one, `columns` to a row, GAP pixels of white around each; a single image as it is."""
    images = images.expand(-1, 3, -1, -1)
    if len(images) == 1:
        return images[0]
    columns = min(columns, len(images))
    above_left_and_empty = (GAP, 0, GAP, 0, 0, 0, 0, -len(images) % columns)
    cells = F.pad(images, above_left_and_empty, value=255)
    whole = rearrange(cells, "(rows columns) c h w -> c (rows h) (columns w)", columns=columns)
    return F.pad(whole, (0, GAP, 0, GAP), value=255)


def tiled_size(count: int, columns: int, height: int, width: int) -> tuple[int, int]:
    """Width and height of what `tiled` returns for `count` images."""
    if count == 1:
        return width, height
    columns = min(columns, count)
    return columns * (width + GAP) + GAP, -(-count // columns) * (height + GAP) + GAP


def show(images: Tensor | np.ndarray, columns: int = 8) -> Image.Image:
    """Images as one picture, `columns` to a row, which a notebook shows and `.save("grid.png")` writes.

    `images`: `b c h w`, or one image `c h w`, in [-1, 1] (uint8: 0 to 255). Those below 64 pixels are enlarged without
    smoothing. Raises UserError if they have another shape or other values, or if there are none.

    >>> crvae.show(model.sample(64))
    """
    images = _drawable(images)
    images = images[None] if images.ndim == 3 else images
    if images.ndim != 4 or images.shape[1] not in (1, 3) or not images.numel() or columns < 1:
        shape = " x ".join(map(str, images.shape))
        raise UserError(f"cannot show {shape} values in {columns} columns. Give images b c h w, with c 1 or 3")
    stored = images.cpu() if images.dtype == torch.uint8 else to_8_bit(images.detach().float())
    factor = -(-64 // stored.shape[-1])
    stored = stored.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    return as_picture(tiled(stored, columns))


def _drawable(images: object) -> Tensor:
    """Images of PyTorch or NumPy as a tensor. Raises UserError if their values do not say how they are drawn."""
    if isinstance(images, np.ndarray) and images.dtype in (np.bool_, np.uint8, np.float16, np.float32, np.float64):
        return torch.from_numpy(np.array(images, order="C"))
    if isinstance(images, Tensor) and (images.is_floating_point() or images.dtype in (torch.uint8, torch.bool)):
        return images
    known = isinstance(images, Tensor | np.ndarray)
    kind = f"{str(images.dtype).removeprefix('torch.')} values" if known else f"a value of type {type(images).__name__}"
    raise UserError(f"cannot show {kind}. Give images b c h w, floats in [-1, 1] or uint8 from 0 to 255")


def save_grid(images: Float[Tensor, "b c h w"], path: Path, columns: int = 8) -> None:
    """Writes images in [-1, 1] as one picture, `columns` to a row, whole or not at all."""
    save_image(tiled(to_8_bit(images), columns), path)


def save_image(image: UInt8[Tensor, "c h w"], path: Path) -> None:
    """Writes a stored image as one of `crvae.files.PICTURES`, as `path` ends; whole or not at all."""
    save_picture(as_picture(image) if len(image) == 3 else Image.fromarray(image[0].numpy()), path)


def save_picture(picture: Image.Image, path: Path) -> None:
    """Writes a picture as one of `crvae.files.PICTURES`, as `path` ends; whole or not at all. Raises UserError as `check_size`."""
    write_bytes(path, encoded(picture, path.suffix, str(path)))


def save_figure(figure: Figure, path: Path, *, dpi: int) -> None:
    """Writes a plot as PNG, whole or not at all."""
    write_bytes(path, figure_bytes(figure, dpi=dpi))


def figure_bytes(figure: Figure, *, dpi: int) -> bytes:
    """A plot as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def check_size(size: tuple[int, int], ending: str, name: str = "the picture") -> None:
    """Raises UserError if a picture of this width and height does not fit the format of `ending`: call it before long work.

    `name` is the subject of the message: the option or the file.
    """
    most = LONGEST_SIDE.get(ending.lower())
    if most is not None and max(size) > most:
        raise UserError(
            f"{name} is too large: {size[0]:,} x {size[1]:,} pixels, and {ending} holds at most {most:,} a side. Name it .png"
        )


def encoded(picture: Image.Image, ending: str, name: str = "the picture") -> bytes:
    """The content of a file with one of the endings `crvae.files.PICTURES`. Raises UserError as `check_size`."""
    check_size(picture.size, ending, name)
    buffer = io.BytesIO()
    match ending.lower():
        case ".png":
            picture.save(buffer, "PNG", optimize=True)
        case ".webp":
            picture.save(buffer, "WEBP", lossless=True)
        case ".jpg" | ".jpeg":
            picture.save(buffer, "JPEG", quality=95)
        case _:
            raise ValueError(f"no picture ends in {ending!r}")
    return buffer.getvalue()
