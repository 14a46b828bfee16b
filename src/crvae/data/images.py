"""From the bytes of any image file to a square 8-bit image, by stated rules; what cannot be used says why."""

from __future__ import annotations

import io
import math
import threading
import warnings
from dataclasses import dataclass
from typing import Literal

from PIL import Image

from crvae.data import colours, orientation, png_chunks
from crvae.data.unusable import Unusable
from crvae.errors import UserError

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")
"""File formats that are opened, whatever a file's name says. No others: some decoders run programs."""

Crop = Literal["center", "none", "box"]
Resample = Literal["bicubic", "bilinear", "lanczos", "area"]
Square = Literal["longer", "shorter"]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels."""

PIXELS = 200_000_000
"""The pixel limit where nothing is said."""

LARGE = 16_000_000
"""Images of more pixels are made smaller before anything else is done to them, so that memory stays small."""

BYTES = 1 << 29
"""No larger file is read, whatever the pixel limit."""

_FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
    "area": Image.Resampling.BOX,
}


def pixels(megapixels: float) -> int:
    """What `--pixel-limit` says, in pixels. Raises UserError if it is not from 0.001 to 1000."""
    if not 0.001 <= megapixels <= 1000:
        raise UserError(f"--pixel-limit must lie between 0.001 and 1000, got {megapixels}")
    return round(megapixels * 1e6)


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
    pixel_limit: int = PIXELS
    """Larger images, in pixels, are skipped before they are decoded."""

    @property
    def byte_limit(self) -> int:
        """Larger files are skipped unread: 8 bytes a pixel is the most that an uncompressed 16-bit image takes."""
        return min(8 * self.pixel_limit + (1 << 20), BYTES)


def decode(data: bytes, form: Form, *, upright: bool = True, shrink: bool = False, paper: str = "white") -> Image.Image:
    """Decodes the first frame of an image file to mode `L` or `RGB`, as `form.channels` says.

    Colours are converted to sRGB where a profile is embedded, 16-bit values divided by 257, palettes and CMYK converted,
    transparency laid on `paper`, the camera's orientation applied where `upright`. With `shrink`, images of more than 16
    megapixels are made smaller while they are decoded, or right after, down to four times the size of the form. Raises
    Unusable for anything that is not wholly an image within `form.pixel_limit`, or shows nothing.
    """
    if not data:
        raise Unusable("is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            light, profile = png_chunks.lighten(data)
            with _open(light) as image:
                width, height = image.size
                if width * height > form.pixel_limit:
                    raise Unusable(
                        f"has {width * height / 1e6:.4g} megapixels, above the limit of {form.pixel_limit / 1e6:g}"
                    )
                colours.check_tiff(image)
                if width * height > LARGE and shrink:
                    least = 4 * max(form.sizes) / min(image.size)
                    image.draft(None, (math.ceil(least * width), math.ceil(least * height)))  # JPEG alone can
                image.load()
                turn = orientation.orientation(image) if upright else 1
                if image.width * image.height > LARGE and shrink and image.mode in ("L", "RGB", "RGBA", "CMYK"):
                    found = image.info, image.format
                    image = image.reduce(max(1, min(image.size) // (4 * max(form.sizes))))
                    image.info, image.format = found
                plain = colours.eight_bit(image, png_chunks.depth(data), profile, paper)
                plain, mode = orientation.upright(plain, turn), "L" if form.channels == 1 else "RGB"
                return plain if plain.mode == mode else plain.convert(mode)
    except Unusable:
        raise
    except Image.UnidentifiedImageError:
        raise Unusable("is not an image of a known format, or is broken in its first bytes") from None
    except Exception as error:
        # a decoder may raise anything on bytes from elsewhere; one file must never end a preparation
        raise Unusable(f"is truncated or broken ({type(error).__name__})") from None


def is_grey(data: bytes) -> bool:
    """Whether an image file that `decode` takes stores no colours."""
    with warnings.catch_warnings(), _open(png_chunks.lighten(data)[0]) as image:
        warnings.simplefilter("ignore")
        return image.mode in ("1", "L", "LA", "I", "I;16", "I;16B")


_opening = threading.Lock()


def _open(data: bytes) -> Image.Image:
    """Reads the head of a file. Pillow's own limit on pixels is set aside meanwhile: the caller has one of its own."""
    with _opening:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(io.BytesIO(data), formats=FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


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
