"""Sample: images from the prior."""

from __future__ import annotations

import gradio as gr

from crvae.web.demo.exhibits import Exhibit
from crvae.web.demo.widgets import frame, grid, in_words, seed_field

MOST = 64
"""Images in one picture."""


def sampling_tab(exhibits: list[Exhibit]) -> None:
    """Count, seed and truncation; every model draws from the same seed."""

    def draw(count: float, seed: float | None, truncation: float) -> list:
        images = [exhibit.model.sample(int(count), int(seed or 0), float(truncation)) for exhibit in exhibits]
        return [grid(drawn) for drawn in images]

    def draw_next(count: float, seed: float | None, truncation: float) -> list:
        following = (int(seed or 0) + 1) % 2**31
        return [following, *draw(count, following, truncation)]

    with gr.Tab("Sample"):
        with gr.Row():
            count = gr.Slider(1, MOST, 16, step=1, label="Images", min_width=200)
            truncation = gr.Slider(
                0, 1, 1, step=0.05, label="Truncation", info="scales z: less, more usual", min_width=200
            )
            seed = seed_field()
        with gr.Row():
            button = gr.Button("Draw", variant="primary", min_width=120)
            another = gr.Button("Another seed", min_width=120)
        with gr.Row():
            first = draw(count.value, seed.value, truncation.value)
            pictures = [
                frame(f"Samples of {exhibit.title}", value) for exhibit, value in zip(exhibits, first, strict=True)
            ]
        settings = [count, seed, truncation]
        gr.on(
            [button.click, seed.submit, count.input, truncation.input],
            in_words(draw),
            settings,
            pictures,
            trigger_mode="always_last",
            concurrency_id="quick",
            api_visibility="private",
        )
        another.click(
            in_words(draw_next), settings, [seed, *pictures], concurrency_id="quick", api_visibility="private"
        )
