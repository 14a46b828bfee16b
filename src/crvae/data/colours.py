"""Any way in which a file says colours and transparency, to 8 bits of sRGB on white."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

from crvae.data.unusable import Unusable

_ALIKE = 3
"""A profile that moves no colour by more than this, of 255, is sRGB under another name."""

_FAINT = 8
"""Where no pixel is more opaque than this, of 255, there is no picture to see."""

_WHITE_IS_ZERO = 262
"""TIFF's tag PhotometricInterpretation, 0 where the largest value is black."""

_BITS, _COMPRESSION, _SAMPLES, _PLANES, _SIGN = 258, 259, 277, 284, 339
"""TIFF's tags BitsPerSample, Compression, SamplesPerPixel, PlanarConfiguration and SampleFormat."""

_SPACES = {"RGB": "RGB ", "L": "GRAY", "CMYK": "CMYK"}
"""Mode -> the colour space of the profiles that describe it."""


def check_tiff(image: Image.Image) -> None:
    """Raises Unusable for the TIFF files that Pillow opens and reads as other colours, or only in part."""
    if image.format != "TIFF":
        return
    tags = image.tag_v2  # type: ignore[attr-defined]
    bits, samples = max(tags.get(_BITS, (1,))), tags.get(_SAMPLES, 1)
    if tags.get(_PLANES) == 2 and samples > 1 and bits > 8 and tags.get(_COMPRESSION, 1) == 1:
        raise Unusable(
            "is a planar 16-bit TIFF without compression, which would be read in wrong colours: save it interleaved"
        )
    if 2 in tags.get(_SIGN, ()) and bits == 8:
        raise Unusable("has signed 8-bit pixels, whose range is unknown")
    if image.mode == "RGB" and samples > 4:
        raise Unusable(f"has {samples} bands, of which only three would be kept: save it as RGB")


def eight_bit(image: Image.Image, depth: int | None, profile: bytes | None = None, paper: str = "white") -> Image.Image:
    """A decoded image of any mode to `L` or `RGB` in sRGB, transparency laid on `paper`.

    `depth`: bits a sample of a PNG, in which its transparent colour is meant. `profile`: the colour profile, where the
    image does not know it. Raises Unusable if the range of the values is unknown, or nothing can be seen.
    """
    profile = profile or image.info.get("icc_profile")
    if image.mode == "F":
        raise Unusable("has floating-point pixels, whose range is unknown")
    if image.mode.startswith("I"):
        image, clear = _from_sixteen(image)
    else:
        image, clear = _without_alpha(image, depth)
    image = to_srgb(image, profile)
    if clear is None:
        return image
    if np.asarray(clear).max() < _FAINT:
        raise Unusable("is wholly transparent: there is nothing to see")
    return Image.composite(image, Image.new(image.mode, image.size, paper), clear)


def _from_sixteen(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Grey of up to 16 bits to 8, and how opaque it is."""
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise Unusable("has integer pixels beyond 16 bits")
    transparent = image.info.get("transparency")
    clear = Image.fromarray((values != transparent).astype(np.uint8) * 255) if isinstance(transparent, int) else None
    if image.format == "TIFF" and getattr(image, "tag_v2", {}).get(_WHITE_IS_ZERO) == 0:
        values = 65535 - values
    grey = values.astype(np.uint32)
    grey += 128
    grey //= 257
    return Image.fromarray(grey.astype(np.uint8)), clear


def _without_alpha(image: Image.Image, depth: int | None) -> tuple[Image.Image, Image.Image | None]:
    """The colours alone, in `L`, `RGB`, `CMYK` or `LAB`; and how opaque they are, None for wholly."""
    transparent = image.info.get("transparency")
    if image.mode in ("1", "L", "RGB") and transparent is not None:
        values = np.asarray(image.convert("L") if image.mode == "1" else image)
        wanted = np.asarray(transparent)
        if depth == 16:
            wanted = wanted >> 8  # all that Pillow keeps of such colours
        elif depth in (2, 4) and image.mode == "L":
            wanted = wanted * 255 // (2**depth - 1)
        same = (values == wanted).all(-1) if values.ndim == 3 else values == wanted
        return image.convert("L" if image.mode == "1" else image.mode), Image.fromarray((~same).astype(np.uint8) * 255)
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode == "LA":  # grey stays grey, as its profile describes it
        alpha = image.getchannel("A")
        return image.getchannel("L"), alpha if np.asarray(alpha).min() < 255 else None
    if image.mode in ("RGBA", "PA", "RGBa") or (image.mode == "P" and transparent is not None):
        whole = image.convert("RGBA")
        alpha = whole.getchannel("A")
        return whole.convert("RGB"), alpha if np.asarray(alpha).min() < 255 else None
    return image if image.mode in ("L", "RGB", "CMYK", "LAB") else image.convert("RGB"), None


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """`L`, `RGB`, `CMYK` or `LAB` by an embedded profile to sRGB. Without one, or with a broken one, the values are sRGB."""
    if image.mode == "LAB":
        lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        return _applied(ImageCms.buildTransform(lab, _srgb(), "LAB", "RGB"), image)
    transform = _transform(profile, image.mode) if profile else None
    if transform is not None:
        return _applied(transform, image)
    return image.convert("RGB") if image.mode == "CMYK" else image


def _applied(transform: ImageCms.ImageCmsTransform, image: Image.Image) -> Image.Image:
    found = ImageCms.applyTransform(image, transform)
    assert found is not None
    return found


@lru_cache(maxsize=1)
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


@lru_cache(maxsize=64)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From a profile to sRGB; None where that changes nothing, or the profile is broken or of another kind of image."""
    try:
        embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if getattr(embedded.profile, "xcolor_space", None) != _SPACES[mode]:
            return None
        transform = ImageCms.buildTransform(embedded, _srgb(), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    if mode == "CMYK":
        return transform
    steps = np.linspace(0, 255, 256 if mode == "L" else 7).round().astype(np.uint8)
    grid = steps[None] if mode == "L" else np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
    before = Image.fromarray(grid)
    moved = np.asarray(_applied(transform, before)).astype(int) - np.asarray(before.convert("RGB"))
    return transform if np.abs(moved).max() > _ALIKE else None
