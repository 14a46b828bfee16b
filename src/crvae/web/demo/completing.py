"""Complete: paint over what shall be hidden, and watch the restarts of the search arrive (section 4.4)."""

# options shared by events are unpacked from one dictionary
# pyright: reportArgumentType=false, reportCallIssue=false

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from crvae.errors import UserError
from crvae.tasks.completion import Search, complete
from crvae.tasks.occlusion import NAMED, blend, rectangle
from crvae.web.demo.exhibits import Exhibit
from crvae.web.demo.widgets import frame, in_words, picker, picture, seed_field

CANVAS = 320
"""About how many pixels wide an image is painted on: what a phone shows."""
PAINTED = "only what is painted"
COLOUR = "#ff2f92"
"""Of the brush: seen on most images."""


def completing_tab(exhibits: list[Exhibit], examples: Float[Tensor, "n c h w"]) -> None:
    """The hole is what the brush covered, and a named region: that one needs no mouse."""

    def search(
        x: Tensor, painting: dict[str, Any] | None, region: str, restarts: float, steps: float, seed: float | None
    ) -> Iterator[list]:
        mask = hidden(painting, region, x.shape[-1])
        found: list[list[tuple]] = [[] for _ in exhibits]
        for restart in range(int(restarts)):
            for exhibit, completions in zip(exhibits, found, strict=True):
                doing = f"{exhibit.title}, restart {restart + 1} of {int(restarts)} ..."
                yield [_status(exhibits, found, doing), *_shown(exhibits, found)]
                completions.append(attempt(exhibit, x, mask, int(seed or 0) + restart, int(steps)))
                completions.sort(key=lambda completion: completion[0])
        yield [_status(exhibits, found), *_shown(exhibits, found)]

    with gr.Tab("Complete"):
        space = gr.Column()
        with gr.Row():
            with gr.Column(min_width=300):
                editor = _editor(examples[0])
                region = gr.Radio([PAINTED, *NAMED], value=PAINTED, label="Hide")
            with gr.Column(min_width=260):
                with gr.Row():
                    restarts = gr.Slider(1, 8, 4, step=1, label="Restarts", min_width=160)
                    steps = gr.Slider(10, 400, 200, step=10, label="Most steps of each", min_width=160)
                    seed = seed_field()
                with gr.Row():
                    begin = gr.Button("Complete", variant="primary", min_width=120)
                    stop = gr.Button("Stop", min_width=80)
                status = gr.Markdown(_status(exhibits, [[] for _ in exhibits]), elem_classes="status")
                outputs = []
                for exhibit in exhibits:
                    outputs.append(frame(f"Best completion of {exhibit.title}"))
                    outputs.append(
                        gr.Gallery(
                            label=f"Restarts of {exhibit.title}, best first",
                            columns=2,
                            height="auto",
                            interactive=False,
                            format="png",
                            buttons=[],
                            elem_classes="pixels",
                        )
                    )
        with space:
            chosen, _ = picker(examples, lambda x: [_canvas(x)], [editor])
        running = begin.click(
            in_words(search),
            [chosen, editor, region, restarts, steps, seed],
            [status, *outputs],
            concurrency_id="search",
            concurrency_limit=1,
            show_progress="minimal",
            api_visibility="private",
        )
        stop.click(None, None, None, cancels=[running], api_visibility="private")


def _editor(x: Float[Tensor, "c h w"]) -> gr.ImageEditor:
    """What the hole is painted with, over the image."""
    return gr.ImageEditor(
        _canvas(x),
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


def hidden(painting: dict[str, Any] | None, region: str, size: int) -> Float[Tensor, "h w"]:
    """The mask, 1 where pixels are visible: 0 where the brush covered half of a pixel or more, and in the named region.

    Raises UserError if nothing is hidden, or everything.
    """
    mask = torch.ones(size, size) if region == PAINTED else rectangle(NAMED[region], size)
    for layer in (painting or {}).get("layers", []):
        alpha = torch.tensor(np.asarray(layer.getchannel("A")), dtype=torch.float32) / 255
        covered = F.interpolate(alpha[None, None], (size, size), mode="area")[0, 0]
        mask = mask * (covered < 0.5)
    if mask.all():
        raise UserError("nothing is hidden: paint over a part of the image, or choose a region")
    if not mask.any():
        raise UserError("every pixel is hidden: leave some of the image visible")
    return mask


def attempt(exhibit: Exhibit, x: Float[Tensor, "c h w"], mask: Float[Tensor, "h w"], seed: int, steps: int) -> tuple:
    """One restart: its loss, its image with the visible pixels as they were, and the latent's own image."""
    settings = Search(tau=Search.tau if exhibit.discriminator else 0.0, restarts=1, steps=steps, seed=seed)
    found = complete(exhibit.stage1, x[None], mask, exhibit.discriminator, settings)
    return found.losses["total"].item(), blend(found.best, x[None], mask[None, None])[0], found.best[0]


def _canvas(x: Float[Tensor, "c h w"]) -> dict[str, Any]:
    """The image, enlarged by a whole factor, under an empty layer."""
    size = x.shape[-1] * max(1, round(CANVAS / x.shape[-1]))
    return {"background": picture(x).resize((size, size), Image.Resampling.NEAREST), "layers": [], "composite": None}


def _shown(exhibits: list[Exhibit], found: list[list[tuple]]) -> list:
    shown = []
    for exhibit, completions in zip(exhibits, found, strict=True):
        if not completions:
            shown += [None, None]
            continue
        best = completions[0][1]
        if exhibit.upsampler is not None:
            best = exhibit.upsampler.upscale(best[None].to(exhibit.model.device))[0]
        shown += [picture(best), [(picture(decoded), f"loss {loss:.1f}") for loss, _, decoded in completions]]
    return shown


def _status(exhibits: list[Exhibit], found: list[list[tuple]], doing: str = "") -> str:
    parts = []
    for exhibit, completions in zip(exhibits, found, strict=True):
        part = f"**{exhibit.title}**: "
        if completions:
            part += f"{len(completions)} done, lowest loss {completions[0][0]:.1f}"
        else:
            part += "no completion yet"
        parts.append(part + ("" if exhibit.discriminator else " (without a discriminator)"))
    return "  \n".join([*parts, doing])
