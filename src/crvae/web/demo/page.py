"""The whole page."""

from __future__ import annotations

import gradio as gr
from jaxtyping import Float
from torch import Tensor

from crvae.web.demo.completing import completing_tab
from crvae.web.demo.exhibits import Exhibit
from crvae.web.demo.reconstructing import reconstructing_tab
from crvae.web.demo.sampling import sampling_tab
from crvae.web.demo.walking import walking_tab

WAITING = 32
"""The most events that wait; others are told that the queue is full."""
KEPT = 3600
"""Seconds that a shown picture stays on disk."""


def build_page(exhibits: list[Exhibit], examples: Float[Tensor, "n c h w"]) -> gr.Blocks:
    """The page for one or two models; `examples` are images to pick, in [-1, 1], at Stage1's size."""
    title = " and ".join(exhibit.title for exhibit in exhibits)
    with gr.Blocks(title=f"{title} - crvae", analytics_enabled=False, delete_cache=(KEPT, KEPT)) as page:
        gr.Markdown(f"# {title}")
        sampling_tab(exhibits)
        walking_tab(exhibits)
        completing_tab(exhibits, examples)
        reconstructing_tab(exhibits, examples)
    page.queue(max_size=WAITING, default_concurrency_limit=1, api_open=False)
    return page
