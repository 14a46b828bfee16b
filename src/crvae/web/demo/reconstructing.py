"""Reconstruct and upscale: an image, decoded from its posterior's mean, and enlarged by Stage2."""

from __future__ import annotations

import gradio as gr
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from crvae.web.demo.address import Shared, whole
from crvae.web.demo.exhibits import Exhibit
from crvae.web.demo.widgets import Picker, frame, picture


def reconstructing_tab(exhibits: list[Exhibit], examples: Float[Tensor, "n c h w"]) -> Shared:
    """Every model's reconstruction of one image; of a Stage2 run both, the image and its reconstruction, enlarged as well."""

    @torch.no_grad()
    def decoded(x: Float[Tensor, "c h w"]) -> list[tuple[str, Image.Image]]:
        """What is shown, with what it is."""
        shown = [("Image", picture(x))]
        for exhibit in exhibits:
            given = x[None].to(exhibit.model.device)
            small = exhibit.stage1.reconstruct(given)
            error = (small - given).square().mean().item()
            shown.append((f"Reconstructed by {exhibit.title}: mean squared error {error:.4f}", picture(small[0])))
            if exhibit.upsampler is not None:
                place = f"enlarged to {exhibit.upsampler.config.output_size} pixels by {exhibit.title}"
                shown.append((f"Reconstruction {place}", picture(exhibit.upsampler.upscale(small)[0])))
                shown.append((f"Image {place}", picture(exhibit.upsampler.upscale(given)[0])))
        return shown

    def show(x: Float[Tensor, "c h w"]) -> list:
        return [gr.update(value=value, label=title) for title, value in decoded(x)]

    with gr.Tab("Reconstruct", id="reconstruct") as tab:
        gr.Markdown("An image is encoded and decoded again: what the model keeps of it, and what it loses.")
        picker = Picker(examples)
        with gr.Row():
            pictures = [frame(title, value) for title, value in decoded(examples[0])]
        shared = Shared(tab, "reconstruct", ("image",), [picker.which])
    shared.parsers = (whole(1, len(examples)),)
    picker.connect(show, pictures, shared)
    return shared
