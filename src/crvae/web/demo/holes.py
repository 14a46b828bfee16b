"""The hole that Complete fills: what the brush covered, and a named part."""

# an editor takes what it gives, a dictionary
# pyright: reportArgumentType=false

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from crvae.errors import UserError
from crvae.tasks.occlusion import Rectangle, rectangle
from crvae.web.demo.widgets import picture

CANVAS = 320
"""About how many pixels wide an image is painted on: what a phone shows."""
PAINTED = "only what is painted"
COLOUR = "#ff2f92"
"""Of the brush: seen on most images."""


def editor(x: Float[Tensor, "c h w"]) -> gr.ImageEditor:
    """What the hole is painted with, over the image."""
    return gr.ImageEditor(
        canvas(x),
        label="Paint the hole",
        type="pil",
        format="png",
        sources=(),
        transforms=(),
        layers=False,
        buttons=[],
        brush=gr.Brush(default_size=CANVAS // 16, colors=[COLOUR], color_mode="fixed"),
        eraser=gr.Eraser(default_size=CANVAS // 16),
        canvas_size=(CANVAS, CANVAS),
    )


def canvas(x: Float[Tensor, "c h w"]) -> dict[str, Any]:
    """The image, enlarged by a whole factor, under an empty layer."""
    size = x.shape[-1] * max(1, round(CANVAS / x.shape[-1]))
    return {"background": picture(x).resize((size, size), Image.Resampling.NEAREST), "layers": [], "composite": None}


def hidden(
    painting: dict[str, Any] | None, region: str, size: int, regions: Mapping[str, Rectangle]
) -> Float[Tensor, "h w"]:
    """The mask, 1 where pixels are visible: 0 where the brush covered half of a pixel or more, and in the named region.

    Raises UserError if nothing is hidden, or everything.
    """
    mask = torch.ones(size, size) if region == PAINTED else rectangle(regions[region], size)
    for layer in (painting or {}).get("layers", []):
        alpha = torch.tensor(np.asarray(layer.getchannel("A")), dtype=torch.float32) / 255
        covered = F.interpolate(alpha[None, None], (size, size), mode="area")[0, 0]
        mask = mask * (covered < 0.5)
    if mask.all():
        raise UserError("nothing is hidden: paint over a part of the image, or choose a part to hide")
    if not mask.any():
        raise UserError("every pixel is hidden: leave some of the image visible")
    return mask
