"""Images as they leave: 8-bit PNGs and grids of them."""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torchvision.io import write_png
from torchvision.utils import make_grid

from crvae.files import whole


def to_8_bit(images: Float[Tensor, "*b c h w"]) -> UInt8[Tensor, "*b c h w"]:
    """Images in [-1, 1] -> stored values round((x + 1) * 127.5), on the CPU."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu()


def from_8_bit(stored: UInt8[Tensor, "*b c h w"]) -> Float[Tensor, "*b c h w"]:
    """Stored values 0..255 -> images in [-1, 1]."""
    return stored.float() / 127.5 - 1


def save_png(image: UInt8[Tensor, "c h w"], path: Path) -> None:
    """Writes one image, whole or not at all."""
    with whole(path) as temporary:
        write_png(image, str(temporary))


def save_grid(images: Float[Tensor, "b c h w"], path: Path, columns: int = 8) -> None:
    """Writes images in [-1, 1] as one PNG, `columns` to a row, whole or not at all."""
    save_png(make_grid(to_8_bit(images), nrow=columns, padding=2, pad_value=255), path)
