"""The whole page."""

from __future__ import annotations

import gradio as gr

from crvae.tasks.inputs import Images
from crvae.training.classifier import Classifier
from crvae.web.demo.address import restore_from_address
from crvae.web.demo.comparing import comparing_tab
from crvae.web.demo.completing import completing_tab
from crvae.web.demo.exhibits import Exhibit
from crvae.web.demo.receiving import receiving_tab
from crvae.web.demo.reconstructing import reconstructing_tab
from crvae.web.demo.sampling import sampling_tab
from crvae.web.demo.walking import walking_tab

WAITING = 32
"""The most events that wait; others are told that the queue is full."""
KEPT = 3600
"""Seconds that a shown picture stays on disk."""


def build_page(exhibits: list[Exhibit], examples: Images, classifier: Classifier | None) -> gr.Blocks:
    """The page for one or two models; `examples` are images to pick, in [-1, 1], at Stage1's size."""
    title = " and ".join(exhibit.title for exhibit in exhibits)
    with gr.Blocks(title=f"{title} - crvae", analytics_enabled=False, delete_cache=(KEPT, KEPT)) as page:
        gr.Markdown(
            "\n\n".join([f"# {title}", *(_line(exhibit, len(exhibits) > 1) for exhibit in exhibits)]),
            elem_classes="title",
        )
        with gr.Tabs() as tabs:
            shared = [
                sampling_tab(exhibits),
                walking_tab(exhibits),
                completing_tab(exhibits, examples.x, examples.boxes),
                reconstructing_tab(exhibits, examples.x),
                receiving_tab(exhibits, examples.x, classifier),
            ]
            if len(exhibits) > 1:
                shared.append(comparing_tab(exhibits, examples.x))
        gr.Markdown(
            "The address of this page keeps the tab and its controls: copy it to come back to what you see.",
            elem_classes="note",
        )
        restore_from_address(page, tabs, shared)
    page.queue(max_size=WAITING, default_concurrency_limit=1, api_open=False)
    return page


def _line(exhibit: Exhibit, named: bool) -> str:
    facts = exhibit.facts()
    trained = f"{facts['recipe']}, trained on {facts['images trained']} images"
    name = f"**{exhibit.title}**: " if named else ""
    return f"{name}{trained}; {facts['latent']}; prior: {facts['prior']}."
