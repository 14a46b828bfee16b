"""From a stored PNG to its pixels, by a decoder that no file can crash."""

from __future__ import annotations

import io

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_DEPTH = 24
"""Where a PNG says its bits a sample."""


def header(png: bytes) -> tuple[int, int]:
    """Width and height in pixels. Raises ValueError if it is not a PNG of at most 8 bits a sample."""
    if png[:8] != SIGNATURE or png[12:16] != b"IHDR" or not 1 <= png[_DEPTH] <= 8:
        raise ValueError("not a PNG of 8 bits")
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def pixels(png: bytes, channels: int) -> UInt8[Tensor, "c h w"]:
    """A PNG of at most 8 bits a sample, grey (1 channel) or in colour (3). Raises ValueError if it is not, or is not whole.

    torchvision's decoder is a third faster, and a cut file ends its process.
    """
    header(png)
    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
            image.load()
            mode = "L" if channels == 1 else "RGB"
            values = np.array(image if image.mode == mode else image.convert(mode))
    except Exception as error:  # Pillow may raise anything on bytes from elsewhere
        raise ValueError(f"not a whole PNG ({type(error).__name__})") from None
    found = torch.from_numpy(values)
    return found[None] if channels == 1 else found.permute(2, 0, 1)
