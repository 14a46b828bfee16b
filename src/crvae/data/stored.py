"""From a stored PNG to its pixels, by a decoder that no file can crash."""

from __future__ import annotations

import io

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from crvae.data.png_chunks import depth


def pixels(png: bytes, channels: int, size: tuple[int, int] | None = None) -> UInt8[Tensor, "c h w"]:
    """A PNG of at most 8 bits a sample, grey (1 channel) or in colour (3).

    Raises ValueError if it is not, is not whole, or is not of `size` (width, height in pixels), which is compared before
    anything is decoded. torchvision's decoder is a third faster, and a cut file ends its process.
    """
    if depth(png) not in range(1, 9):
        raise ValueError("not a PNG of 8 bits")
    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
            if size not in (None, image.size):
                raise ValueError(f"not of {size} pixels")
            image.load()
            mode = "L" if channels == 1 else "RGB"
            values = np.array(image if image.mode == mode else image.convert(mode))
    except Exception as error:  # Pillow may raise anything on bytes from elsewhere
        raise ValueError(f"not a whole PNG of that size ({type(error).__name__})") from None
    found = torch.from_numpy(values)
    return found[None] if channels == 1 else found.permute(2, 0, 1)
