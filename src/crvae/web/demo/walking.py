"""Walk: one control for every time step, and the image that follows (section 4.5)."""

# options shared by events are unpacked from one dictionary
# pyright: reportArgumentType=false, reportCallIssue=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import gradio as gr
import torch
from jaxtyping import Float
from torch import Tensor

from crvae.models.autoencoder import Autoencoder
from crvae.models.gaussian import blocks
from crvae.models.prior import LearnedPrior
from crvae.web.demo.address import Shared, number
from crvae.web.demo.exhibits import Exhibit
from crvae.web.demo.widgets import LARGEST_SEED, QUICK, frame, in_words, picture

MOST = 32
"""Time steps with a control of their own; further blocks stay at the first draw."""


def walking_tab(exhibits: list[Exhibit]) -> Shared:
    """Models whose latents are alike follow the same controls; others have their own."""

    def latents(exhibit: Exhibit) -> tuple:
        return exhibit.stage1.latent_shape, exhibit.stage1.config.steps

    with gr.Tab("Walk", id="walk") as tab:
        gr.Markdown("One image, and a control for every block of its latent: see which block decides what.")
        walks = [_walk(list(alike)) for _, alike in groupby(exhibits, latents)]
        names, components = [], []
        for place, walk in enumerate(walks, 1):
            own = str(place) if len(walks) > 1 else ""
            names += [f"draws{own}", *(f"t{own}{'.' * bool(own)}{t}" for t in range(1, len(walk.sliders) + 1))]
            components += [walk.draws, *walk.sliders]
        shared = Shared(tab, "walk", names, components)
    shared.parsers = tuple(
        parser for walk in walks for parser in (_draws(len(walk.sliders)), *[number(0, 1)] * len(walk.sliders))
    )
    for walk in walks:
        shared.arrived.change(walk.follow, [walk.draws, *walk.sliders], walk.pictures, **FOLLOWING)
        for event in walk.redraws:
            shared.noted_after(event)
    return shared


FOLLOWING: dict[str, Any] = {**QUICK, "show_progress": "hidden"}


@dataclass
class _Walk:
    """The controls of the models with one kind of latent."""

    draws: gr.Textbox
    """For every slider the seed of the prior's draw at its left end, as text between dots."""
    sliders: list[gr.Slider]
    pictures: list[gr.Image]
    follow: Callable[..., Any]
    redraws: list[Any]
    """The events that change `draws`."""


def _draws(count: int) -> Callable[[str], str]:
    """Checks a text of so many draws. Raises ValueError."""

    def parse(text: str) -> str:
        seeds_of(text, count)
        return text

    return parse


def seeds_of(text: str, count: int) -> list[int]:
    """`"0.2.0"` -> [0, 2, 0]. Raises ValueError if these are not `count` seeds."""
    parts = text.split(".")
    if len(parts) != count or not all(part.isascii() and part.isdigit() and len(part) < 11 for part in parts):
        raise ValueError("these are not the draws of a walk")
    if max(seeds := [int(part) for part in parts]) > LARGEST_SEED:
        raise ValueError("a draw is out of bounds")
    return seeds


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


def _walk(exhibits: list[Exhibit]) -> _Walk:
    model = exhibits[0].stage1
    steps = min(model.config.steps, MOST)

    @torch.no_grad()
    def follow(text: str, *shares: float) -> list:
        draws = seeds_of(text, steps)
        latents = [walk_latent(exhibit.stage1, draws, shares) for exhibit in exhibits]
        return [picture(exhibit.model.decode(z)[0]) for exhibit, z in zip(exhibits, latents, strict=True)]

    def resample(step: int, text: str, *shares: float) -> list:
        text = _moved(text, [t == step for t in range(steps)])
        return [text, *follow(text, *shares)]

    def resample_unlocked(text: str, *values: float) -> list:
        locks, shares = values[:steps], values[steps:]
        text = _moved(text, [not lock for lock in locks])
        return [text, *follow(text, *shares)]

    def lock_controls(lock: bool) -> list:
        return [gr.update(interactive=not lock), gr.update(interactive=not lock)]

    draws = gr.Textbox(".".join("0" * steps), visible=False)
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
    gr.on(
        [slider.input for slider in sliders],
        in_words(follow),
        [draws, *sliders],
        pictures,
        trigger_mode="always_last",
        **FOLLOWING,
    )
    redraws = []
    for step, (lock, slider, button) in enumerate(rows):
        redraw = partial(in_words(resample), step)
        redraws.append(button.click(redraw, [draws, *sliders], [draws, *pictures], **FOLLOWING))
        lock.input(lock_controls, lock, [slider, button], queue=False, **FOLLOWING)
    again = everything.click(in_words(resample_unlocked), [draws, *locks, *sliders], [draws, *pictures], **FOLLOWING)
    return _Walk(draws, sliders, pictures, in_words(follow), [*redraws, again])


def _moved(text: str, moving: Sequence[bool]) -> str:
    """The draws, those that move two further: a slider lies between a draw and the next one."""
    seeds = seeds_of(text, len(moving))
    return ".".join(str(seed + 2 * move) for seed, move in zip(seeds, moving, strict=True))


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
