"""From the bytes of any image file to a square 8-bit image, by stated rules; what cannot be used says why."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")
"""File formats that are opened, whatever a file's name says. No others: some decoders run programs."""

Crop = Literal["center", "none", "box"]
Resample = Literal["bicubic", "bilinear", "lanczos", "area"]
Square = Literal["longer", "shorter"]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels."""

_ORIENTATION = 0x0112
"""The EXIF tag that says how a camera was held."""

_FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
    "area": Image.Resampling.BOX,
}


class Unusable(Exception):
    """Why one file gives no image; the text completes the sentence "FILE ..."."""


@dataclass(frozen=True)
class Form:
    """What every image is turned into."""

    sizes: tuple[int, ...]
    """Height and width of each stored image, in pixels."""
    channels: Literal[1, 3] = 3
    crop: Crop = "center"
    """`center`: the largest centred square; `none`: the whole picture, squeezed; `box`: a square around the source's box."""
    margin: float = 0.0
    """Added on every side of a box, as a share of its side."""
    square: Square = "longer"
    """Which side of a box makes the square."""
    resample: Resample = "bicubic"
    """Filter, always with antialiasing."""
    pixel_limit: int = 16_000_000
    """Larger images, in pixels, are skipped before they are decoded."""

    @property
    def byte_limit(self) -> int:
        """Larger files are skipped unread: 8 bytes a pixel is the most that an uncompressed 16-bit image takes."""
        return 8 * self.pixel_limit + (1 << 20)


def decode(data: bytes, form: Form, *, upright: bool = True) -> Image.Image:
    """Decodes the first frame of an image file to mode `L` or `RGB`, as `form.channels` says.

    16-bit values are divided by 257, palettes and CMYK converted, transparency laid on white, the camera's orientation
    applied where `upright`. Raises Unusable for anything that is not wholly an image within `form.pixel_limit`.
    """
    if not data:
        raise Unusable("is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                width, height = image.size
                if width * height > form.pixel_limit:
                    raise Unusable(_too_large(width * height, form))
                image.load()
                if upright and image.getexif().get(_ORIENTATION, 1) != 1:
                    image = ImageOps.exif_transpose(image)
                return _eight_bit(image).convert("L" if form.channels == 1 else "RGB")
    except Unusable:
        raise
    except Image.UnidentifiedImageError:
        raise Unusable("is not an image of a known format, or is broken in its first bytes") from None
    except Image.DecompressionBombError:
        raise Unusable(_too_large(2 * (Image.MAX_IMAGE_PIXELS or 0), form)) from None
    except (
        Exception
    ) as error:  # a decoder may raise anything on bytes from elsewhere; one file must never end a preparation
        raise Unusable(f"is truncated or broken ({type(error).__name__})") from None


def _too_large(pixels: int, form: Form) -> str:
    return f"has {pixels / 1e6:.1f} megapixels or more, above the limit of {form.pixel_limit / 1e6:g}"


def _eight_bit(image: Image.Image) -> Image.Image:
    """Any mode to `1`, `L`, `RGB`, or another 8-bit one without transparency."""
    if image.mode == "F":
        raise Unusable("has floating-point pixels, whose range is unknown")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise Unusable("has integer pixels beyond 16 bits")
        return Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def region(size: tuple[int, int], form: Form, box: Box | None = None) -> Box:
    """The part of an image of `size` (width, height) pixels that is scaled. Raises Unusable for a box outside of it.

    A box becomes a square around its centre, of its longer or shorter side plus the margins, made no larger than the
    image and moved inside it: nothing is padded.
    """
    width, height = size
    if form.crop == "none":
        return 0, 0, width, height
    if form.crop == "center" or box is None:
        side, x, y = min(width, height), width / 2, height / 2
    else:
        left, top, right, bottom = box
        if not (0 <= max(left, 0) < min(right, width) and 0 <= max(top, 0) < min(bottom, height)):
            raise Unusable("has a bounding box that is empty or outside of the image")
        side = (max if form.square == "longer" else min)(right - left, bottom - top) * (1 + 2 * form.margin)
        side, x, y = min(side, width, height), (left + right) / 2, (top + bottom) / 2
    left, top = min(max(x - side / 2, 0), width - side), min(max(y - side / 2, 0), height - side)
    return left, top, left + side, top + side


def scale(image: Image.Image, form: Form, box: Box | None = None) -> list[Image.Image]:
    """The stored images of one row: the same region, scaled with antialiasing to each of `form.sizes`."""
    part = region(image.size, form, box)
    return [image.resize((size, size), _FILTERS[form.resample], box=part) for size in form.sizes]


def encode(image: Image.Image) -> bytes:
    """Lossless PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()
