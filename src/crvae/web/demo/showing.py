"""How images and mistakes get onto the page."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import gradio as gr
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid

from crvae.data.images import Unusable
from crvae.errors import UserError
from crvae.pictures import to_8_bit
from crvae.tasks.labelled import as_picture

HEIGHT = 340
"""CSS pixels of a picture and its label."""


def picture(image: Float[Tensor, "c h w"]) -> Image.Image:
    """An image in [-1, 1], as it would be stored; the page enlarges it without smoothing."""
    return as_picture(to_8_bit(image))


def grid(images: Float[Tensor, "b c h w"]) -> Image.Image:
    """Images in [-1, 1] as one picture that is about square."""
    columns = math.ceil(math.sqrt(len(images)))
    return as_picture(make_grid(to_8_bit(images), nrow=columns, padding=2, pad_value=255))


def frame(title: str, value: Image.Image | None = None) -> gr.Image:
    """Where a picture is shown, to be looked at and downloaded, not changed."""
    return gr.Image(
        value,
        label=title,
        alt_text=title,
        format="png",
        height=HEIGHT,
        interactive=False,
        buttons=["download", "fullscreen"],
        elem_classes="pixels",
        min_width=260,
    )


def seed_field() -> gr.Number:
    return gr.Number(0, label="Seed", precision=0, minimum=0, maximum=2**31 - 1, min_width=100)


def in_words(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, or generator function, as Gradio wants it: UserError and Unusable are shown on the page as their sentence.

    A function returns a list with a value for every output; where there is but one, Gradio wants it bare.
    """
    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def generate(*values: Any) -> Any:
            try:
                yield from function(*values)
            except (UserError, Unusable) as error:
                raise gr.Error(_sentence(error), print_exception=False) from None

        return generate

    @functools.wraps(function)
    def call(*values: Any) -> Any:
        try:
            results = function(*values)
        except (UserError, Unusable) as error:
            raise gr.Error(_sentence(error), print_exception=False) from None
        return results[0] if len(results) == 1 else results

    return call


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"The file {text}." if isinstance(error, Unusable) else text[:1].upper() + text[1:] + "."
