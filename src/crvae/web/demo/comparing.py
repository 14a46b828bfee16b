"""Compare: two models in numbers, and on the same images."""

from __future__ import annotations

import gradio as gr
import torch
from jaxtyping import Float
from torch import Tensor

from crvae.web.demo.address import Shared
from crvae.web.demo.exhibits import Exhibit
from crvae.web.demo.sheets import FilmFrame, facts, film
from crvae.web.demo.widgets import picture

COMPARED = 8
"""Images that both reconstruct."""


def comparing_tab(exhibits: list[Exhibit], examples: Float[Tensor, "n c h w"]) -> Shared:
    """What is known of two models, and their reconstructions of the first images, one below the other."""
    with gr.Tab("Compare", id="compare") as tab:
        gr.Markdown("The two models side by side. Every other tab shows both as well, from the same seeds and images.")
        gr.HTML(facts({exhibit.title: exhibit.facts() for exhibit in exhibits}))
        for part in compared(exhibits, examples[:COMPARED]):
            gr.HTML(part)
        return Shared(tab, "compare")


@torch.no_grad()
def compared(exhibits: list[Exhibit], x: Float[Tensor, "n c h w"]) -> list[str]:
    """A row of images, a row of every model's reconstructions with their errors, and who is nearer how often."""
    rows = [film("Images", [FilmFrame(picture(image), f"image {place}") for place, image in enumerate(x, 1)])]
    errors = []
    images = []
    for exhibit in exhibits:
        given = x.to(exhibit.model.device)
        images.append(exhibit.stage1.reconstruct(given).cpu())
        errors.append((images[-1] - x).square().flatten(1).mean(1))
    nearest = torch.stack(errors).argmin(0)
    for place, exhibit in enumerate(exhibits):
        frames = [
            FilmFrame(picture(image), f"error {error:.4f}", ("nearer",) if best == place else ())
            for image, error, best in zip(images[place], errors[place].tolist(), nearest.tolist(), strict=True)
        ]
        rows.append(film(f"Reconstructed by {exhibit.title}", frames))
    counts = [f"{exhibit.title} on {(nearest == place).sum()}" for place, exhibit in enumerate(exhibits)]
    rows.append(f"<p>Nearer to the image, by mean squared error, of {len(x)} images: {', '.join(counts)}.</p>")
    return rows
