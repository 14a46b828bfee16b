"""Pick an image, or bring one: it becomes what `crvae prepare` would store."""

# options shared by events are unpacked from one dictionary
# pyright: reportArgumentType=false, reportCallIssue=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import gradio as gr
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from crvae.data.images import Form, decode, scale
from crvae.pictures import from_8_bit
from crvae.web.demo.showing import in_words, picture


def picker(
    examples: Float[Tensor, "n c h w"], show: Callable[[Tensor], Any], outputs: Sequence[Any]
) -> tuple[gr.State, gr.Gallery]:
    """A gallery of `examples` and a button to upload an image; a choice goes through `show` to `outputs`.

    Returns the state that holds the chosen image `c h w` in [-1, 1], at first examples[0].
    """
    channels, size = examples.shape[1:3]
    chosen = gr.State(examples[0])

    def pick(event: gr.SelectData) -> list:
        x = examples[int(event.index)]  # type: ignore[arg-type]
        return [x, *show(x)]

    def bring(data: bytes) -> list:
        x = to_image(data, channels, size)
        return [x, *show(x)]

    gallery = gr.Gallery(
        [picture(x) for x in examples],
        label="Pick an image",
        columns=8,
        height="auto",
        allow_preview=False,
        interactive=False,
        format="png",
        buttons=[],
        elem_classes=["pixels", "picks"],
    )
    upload = gr.UploadButton("Upload an image", type="binary", file_types=["image"], size="sm")
    event = {"concurrency_id": "quick", "api_visibility": "private"}
    gallery.select(in_words(pick), None, [chosen, *outputs], **event)
    upload.upload(in_words(bring), upload, [chosen, *outputs], **event)
    return chosen, gallery


def to_image(data: bytes, channels: int, size: int) -> Float[Tensor, "c h w"]:
    """The bytes of an image file -> its largest centred square in [-1, 1]. Raises Unusable where they are no image."""
    wanted: Literal[1, 3] = 1 if channels == 1 else 3
    form = Form(sizes=(size,), channels=wanted)
    pixels = np.array(scale(decode(data, form), form)[0]).reshape(size, size, channels)
    return from_8_bit(torch.from_numpy(pixels).permute(2, 0, 1))
