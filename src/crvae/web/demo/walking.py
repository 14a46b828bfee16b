"""Walk: one control for every time step, and the image that follows (section 4.5)."""

# options shared by events are unpacked from one dictionary
# pyright: reportArgumentType=false, reportCallIssue=false

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import groupby

import gradio as gr
import torch
from jaxtyping import Float
from torch import Tensor

from crvae.models.autoencoder import Autoencoder
from crvae.models.gaussian import blocks
from crvae.models.prior import LearnedPrior
from crvae.web.demo.exhibits import Exhibit
from crvae.web.demo.widgets import frame, in_words, picture

MOST = 32
"""Time steps with a control of their own; further blocks stay at the first draw."""


def walking_tab(exhibits: list[Exhibit]) -> None:
    """Models whose latents are alike follow the same controls; others have their own."""

    def latents(exhibit: Exhibit) -> tuple:
        return exhibit.stage1.latent_shape, exhibit.stage1.config.steps

    with gr.Tab("Walk"):
        for _, alike in groupby(exhibits, latents):
            _walk(list(alike))


def walk_latent(model: Autoencoder, draws: Sequence[int], shares: Sequence[float]) -> Float[Tensor, " 1 *d"]:
    """The noise of block t is `shares[t]` of the way from that of the prior's draw `draws[t]` to the next one; without a draw, of draw 0.

    Under N(0, I) the noise is the latent itself.
    """
    prior = model.prior
    whole = prior.noise(1, 0)
    noise = blocks(whole, prior.steps).clone()
    for t, (draw, share) in enumerate(zip(draws, shares, strict=True)):
        here, there = (blocks(prior.noise(1, seed), prior.steps)[:, t] for seed in (draw, draw + 1))
        noise[:, t] = torch.lerp(here, there, float(share))
    return prior.generate(noise.view(whole.shape))


def _walk(exhibits: list[Exhibit]) -> None:
    model = exhibits[0].stage1
    steps = min(model.config.steps, MOST)

    @torch.no_grad()
    def follow(draws: list[int], *shares: float) -> list:
        latents = [walk_latent(exhibit.stage1, draws, shares) for exhibit in exhibits]
        return [picture(exhibit.model.decode(z)[0]) for exhibit, z in zip(exhibits, latents, strict=True)]

    def resample(step: int, draws: list[int], *shares: float) -> list:
        draws = [draw + 2 * (t == step) for t, draw in enumerate(draws)]
        return [draws, *follow(draws, *shares)]

    def resample_unlocked(draws: list[int], *values: float) -> list:
        locks, shares = values[:steps], values[steps:]
        draws = [draw + 2 * (not lock) for draw, lock in zip(draws, locks, strict=True)]
        return [draws, *follow(draws, *shares)]

    def lock_controls(lock: bool) -> list:
        return [gr.update(interactive=not lock), gr.update(interactive=not lock)]

    draws = gr.State([0] * steps)
    with gr.Row():
        with gr.Column(min_width=260, elem_classes="follows"):
            first = follow(draws.value, *[0] * steps)
            with gr.Row():
                pictures = [
                    frame(f"Decoded by {exhibit.title}", value) for exhibit, value in zip(exhibits, first, strict=True)
                ]
        with gr.Column(min_width=300):
            gr.Markdown(_explanation(model, steps))
            rows = [_controls(t) for t in range(1, steps + 1)]
            everything = gr.Button("Resample all that are not locked", variant="primary")
    locks, sliders = [lock for lock, _, _ in rows], [slider for _, slider, _ in rows]
    event = {"concurrency_id": "quick", "api_visibility": "private"}
    following = {**event, "show_progress": "hidden"}
    gr.on(
        [slider.input for slider in sliders],
        in_words(follow),
        [draws, *sliders],
        pictures,
        trigger_mode="always_last",
        **following,
    )
    for step, (lock, slider, button) in enumerate(rows):
        button.click(partial(in_words(resample), step), [draws, *sliders], [draws, *pictures], **following)
        lock.input(lock_controls, lock, [slider, button], queue=False, **following)
    everything.click(in_words(resample_unlocked), [draws, *locks, *sliders], [draws, *pictures], **event)


def _controls(t: int) -> tuple[gr.Checkbox, gr.Slider, gr.Button]:
    with gr.Row(elem_classes="step"):
        lock = gr.Checkbox(False, label=f"lock {t}", container=False, scale=0, min_width=86)
        slider = gr.Slider(0, 1, 0, step=0.02, label=f"t = {t}", container=False, buttons=[], min_width=80)
        button = gr.Button(f"Resample {t}", size="sm", scale=0, min_width=100)
    return lock, slider, button


def _explanation(model: Autoencoder, steps: int) -> str:
    text = "Each slider moves the block of one time step between two draws from the prior; Resample draws both anew."
    if isinstance(model.prior, LearnedPrior):
        text += " The prior is learned: what moves is the noise behind the block, and other blocks follow it."
    if not model.latent.ordered:
        text += " This model is not recurrent: its blocks are arbitrary groups of channels."
    if steps < model.config.steps:
        text += f" The first {steps} of {model.config.steps} blocks are shown."
    return text
