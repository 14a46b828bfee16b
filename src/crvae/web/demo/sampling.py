"""Sample: images from the prior."""

from __future__ import annotations

from collections.abc import Iterator

import gradio as gr
import torch
from jaxtyping import Float
from torch import Tensor

from crvae.models.model import Model
from crvae.web.demo.address import Shared, number, whole
from crvae.web.demo.exhibits import Exhibit
from crvae.web.demo.sheets import sheet
from crvae.web.demo.widgets import LARGEST_SEED, QUICK, in_words, picture, seed_field, status_line

MOST = 64
"""Images of one model."""
WIDE = 8
"""Images in a row of a wide page."""
PART = 8
"""Images drawn between two words about progress."""


def sampling_tab(exhibits: list[Exhibit]) -> Shared:
    """Count, seed and truncation; every model draws from the same seed."""

    def draw(count: float, seed: float | None, truncation: float) -> Iterator[list]:
        sheets, total = [], int(count) * len(exhibits)
        for place, exhibit in enumerate(exhibits):
            images = []
            for part in drawn(exhibit.model, int(count), int(seed or 0), float(truncation)):
                images += [picture(image) for image in part]
                done = place * int(count) + len(images)
                yield [f"{done} of {total} drawn", *(gr.skip() for _ in exhibits)]
            sheets.append(sheet(f"Samples of {exhibit.title}", images, wide=WIDE // len(exhibits)))
        yield [f"{total} drawn", *sheets]

    def following(seed: float | None) -> int:
        return (int(seed or 0) + 1) % LARGEST_SEED

    with gr.Tab("Sample", id="sample") as tab:
        gr.Markdown("New images, drawn from what the model has learned. The same seed gives the same images.")
        with gr.Row():
            count = gr.Slider(1, MOST, 16, step=1, label="Images", min_width=200)
            truncation = gr.Slider(
                0,
                1,
                1,
                step=0.05,
                label="Truncation",
                info="1: as varied as the model draws. Less: closer to its average image, more usual and more alike.",
                min_width=200,
            )
            seed = seed_field()
        with gr.Row(elem_classes="buttons"):
            button = gr.Button("Draw", variant="primary", min_width=140, scale=0)
            another = gr.Button("Another seed", min_width=170, scale=0)
            status = status_line()
        settings = [count, seed, truncation]
        *_, first = draw(*(setting.value for setting in settings))
        with gr.Row():
            sheets = [gr.HTML(value, min_width=300) for value in first[1:]]
        shared = Shared(tab, "sample", ("images", "seed", "truncation"), [count, seed, truncation])
    event = {**QUICK, "show_progress": "hidden"}
    drawing = [in_words(draw), settings, [status, *sheets]]
    gr.on([button.click, seed.submit, count.input, truncation.input], *drawing, trigger_mode="always_last", **event)
    another.click(following, seed, seed, **event).then(*drawing, **event)
    shared.parsers = (whole(1, MOST), whole(0, LARGEST_SEED - 1), number(0, 1))
    shared.arrived.change(*drawing, **event)
    return shared


def drawn(model: Model, count: int, seed: int, truncation: float) -> Iterator[Float[Tensor, "b c h w"]]:
    """`model.sample(count, seed, truncation)`, PART images at a time."""
    with torch.no_grad():
        z, mean = model.prior.sample(count, seed), model.prior.mean
        parts = (mean + truncation * (z - mean)).split(PART)
    for part in parts:
        with torch.no_grad():
            images = model.decode(part)
        yield images
