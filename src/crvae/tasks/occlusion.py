"""Masks of occluded images (section 4.4): 1 where a pixel is visible, 0 where it is hidden.

They are fractions of the image, so they fit every size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from crvae.data.images import Form
from crvae.errors import UserError, near
from crvae.pictures import from_8_bit
from crvae.tasks.inputs import distinct, open_picture

Rectangle = tuple[float, float, float, float]
"""Hidden region: top, left, bottom, right, as fractions of the image's height and width."""

NAMED: dict[str, Rectangle] = {
    "right-half": (0.0, 0.5, 1.0, 1.0),
    "upper": (0.0, 0.0, 0.5, 1.0),
    "lower": (0.5, 0.0, 1.0, 1.0),
    "center": (0.25, 0.25, 0.75, 0.75),
    "eyes": (0.38, 0.2, 0.58, 0.8),
    "mouth": (0.66, 0.3, 0.86, 0.7),
}
"""The paper's occlusions. `eyes` and `mouth` lie where they are in photographs of faces that fill the image; the paper gives
no rectangles, and prepared data tell their own (`Card.boxes`)."""
NO_BOXES: Mapping[str, Rectangle] = MappingProxyType({})


def masks(text: str, size: int, boxes: Mapping[str, Rectangle] = NO_BOXES) -> dict[str, Float[Tensor, "h w"]]:
    """`"right-half,0.1:0.2:0.5:0.6,MASK.png"` -> masks of `size` pixels by name, fit for folders.

    `boxes`: where the images' own parts lie, in the place of NAMED's of the same names and beside the others.
    Raises UserError if a mask cannot be read, hides nothing or hides everything.
    """
    found: dict[str, Tensor] = {}
    for part in _parts(text):
        name, mask = _mask(part, size, {**NAMED, **boxes})
        if name in found:
            raise UserError(f"--mask names {name} twice")
        if mask.min() == mask.max():
            raise UserError(
                f"--mask {part} hides {'nothing' if mask.all() else 'every pixel'} at {size} pixels: choose another region"
            )
        found[name] = mask
    if not found:
        raise UserError(f"--mask names no mask: use {', '.join(NAMED)}, top:left:bottom:right, or a PNG")
    return found


def rectangle(hidden: Rectangle, size: int) -> Float[Tensor, "h w"]:
    """1 everywhere but in the pixels whose centres lie in the rectangle."""
    centres = (torch.arange(size) + 0.5) / size
    top, left, bottom, right = hidden
    rows, columns = (centres > top) & (centres < bottom), (centres > left) & (centres < right)
    return 1 - (rows[:, None] & columns).float()


def wide_mask(mask: Shaped[Tensor, ...], x: Float[Tensor, "b c h w"]) -> Float[Tensor, "#b 1 h w"]:
    """The mask `h w`, `1 h w`, `1 1 h w` or `b 1 h w`, of numbers or bools, as one for the images `x`, on their device.

    Raises UserError if it is of another shape, or not 1 where pixels are visible and 0 where they are hidden.
    """
    if not isinstance(x, Tensor) or x.ndim != 4:
        raise UserError(f"images must be a tensor b c h w, got {_form(x)}")
    count, _, height, width = x.shape
    if not isinstance(mask, Tensor):
        raise UserError(f"the mask must be a tensor ({height}, {width}), got {_form(mask)}")
    wide = mask.to(x.device).float()
    while wide.ndim < 4:
        wide = wide[None]
    if wide.shape[0] not in (1, count) or wide.shape[1] != 1 or wide.shape[2:] != x.shape[2:]:
        advice = ". Pass mask[:, None]" if mask.shape == (count, height, width) else ""
        needed = f"({height}, {width}) or ({count}, 1, {height}, {width})"
        raise UserError(f"the mask is {tuple(mask.shape)}, the images need {needed}{advice}")
    if not ((wide == 0) | (wide == 1)).all():
        raise UserError("the mask must be 1 where pixels are visible and 0 where they are hidden, and nothing else")
    return wide


def occlude(x: Float[Tensor, "b c h w"], mask: Shaped[Tensor, ...]) -> Float[Tensor, "b c h w"]:
    """Images with their hidden pixels grey. Raises UserError if the mask is not one, as `wide_mask` says."""
    return x * wide_mask(mask, x).to(x.dtype)


def blend(
    completed: Float[Tensor, "b c h w"],
    x: Float[Tensor, "b c h w"],
    mask: Shaped[Tensor, ...],
    feather: float = 0.0,
) -> Float[Tensor, "b c h w"]:
    """Visible pixels as they are, hidden ones from the completion.

    `mask` is 1 where pixels are visible and 0 where they are hidden, or True and False: `h w`, `1 h w` or `b 1 h w`.
    With `feather`, in pixels, the hidden ones are shifted towards the colours that the visible ones have across the seam,
    less and less over that distance: the seam softens, and no visible pixel changes.

    Raises UserError if the mask has another shape or other values.
    """
    mask = wide_mask(mask, completed)
    if feather:
        near = _blur(mask, feather)
        shift = _blur((x - completed) * mask, feather) / near.clamp_min(1e-6)
        completed = (completed + (1 - mask) * (2 * near).clamp_max(1) * shift).clamp(-1, 1)
    return torch.where(mask.bool(), x, completed)


def _form(given: object) -> str:
    return str(tuple(given.shape)) if isinstance(given, Tensor) else type(given).__name__


def _blur(images: Float[Tensor, "b c h w"], deviation: float) -> Float[Tensor, "b c h w"]:
    radius = math.ceil(3 * deviation)
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, device=images.device) / deviation) ** 2)
    kernel = (kernel / kernel.sum()).view(1, 1, -1, 1)
    flat = images.flatten(0, 1)[:, None]
    for weights in (kernel, kernel.mT):
        padding = (0, 0, radius, radius) if weights.shape[2] > 1 else (radius, radius, 0, 0)
        flat = F.conv2d(F.pad(flat, padding), weights)
    return flat[:, 0].unflatten(0, images.shape[:2])


def _parts(text: str) -> list[str]:
    """The masks that a text lists: commas separate them, but for those in the name of a PNG that is there."""
    words, parts = text.split(","), []
    while words:
        many = next((n for n in range(len(words), 1, -1) if _is_png(Path(",".join(words[:n]).strip()))), 1)
        parts.append(",".join(words[:many]).strip())
        words = words[many:]
    return [part for part in parts if part]


def _is_png(path: Path) -> bool:
    try:
        return path.suffix.lower() == ".png" and path.is_file()
    except (OSError, ValueError):  # too long a name, a null character
        return False


def _mask(part: str, size: int, named: Mapping[str, Rectangle]) -> tuple[str, Tensor]:
    if part in named:
        return distinct([part])[0], rectangle(named[part], size)
    if ":" in part and Path(part).suffix.lower() != ".png":
        try:
            top, left, bottom, right = map(float, part.split(":"))
        except ValueError:
            raise UserError(
                f"--mask {part} is not a rectangle. Write top:left:bottom:right in fractions of the image, for example 0.25:0.25:0.75:0.75"
            ) from None
        if not (0 <= top < bottom <= 1 and 0 <= left < right <= 1):
            raise UserError(
                f"--mask {part} is not a rectangle: 0 <= top < bottom <= 1 and 0 <= left < right <= 1 must hold"
            )
        return f"rectangle-{part.replace(':', '-')}", rectangle((top, left, bottom, right), size)
    path = Path(part)
    if path.suffix.lower() == ".png":
        return distinct([path.stem])[0], _drawn(path, size)
    raise UserError(
        f"--mask {part} is unknown{near(part, named)}: use {', '.join(named)}, top:left:bottom:right, or a PNG"
    )


def _drawn(path: Path, size: int) -> Float[Tensor, "h w"]:
    """A square PNG whose black and whose transparent pixels are hidden."""
    drawn = open_picture(path, Form(sizes=(size,), channels=1), paper="black")
    width, height = drawn.size
    if width != height:
        raise UserError(f"--mask {path} is {width}x{height} pixels: a mask must be square, as the images are")
    picture = from_8_bit(torch.from_numpy(np.array(drawn)))
    return (F.interpolate(picture[None, None], (size, size), mode="area")[0, 0] > 0).float()
