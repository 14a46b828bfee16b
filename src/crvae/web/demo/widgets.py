"""The page's widgets: how images and errors are shown, and how a visitor picks or brings an image."""

# options shared by events are unpacked from one dictionary
# pyright: reportArgumentType=false, reportCallIssue=false

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Literal

import gradio as gr
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from crvae.data.images import Form, Unusable, decode
from crvae.errors import UserError
from crvae.pictures import as_picture, to_8_bit
from crvae.tasks.inputs import squared
from crvae.web.demo.address import Shared
from crvae.web.demo.guard import LIMITS

HEIGHT = 340
"""CSS pixels of a picture and its label."""
LARGEST_SEED = 2**31
"""Seeds are below it."""
QUICK: dict[str, Any] = {"concurrency_id": "quick", "api_visibility": "private"}
"""Of events that take less than a few seconds: one at a time."""


def picture(image: Float[Tensor, "c h w"]) -> Image.Image:
    """An image in [-1, 1], as it would be stored; the page enlarges it without smoothing."""
    return as_picture(to_8_bit(image))


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
    return gr.Number(0, label="Seed", precision=0, minimum=0, maximum=LARGEST_SEED - 1, min_width=100)


def status_line(text: str = "") -> gr.Markdown:
    """Where the page says what it does; read out by screen readers when it changes."""
    return gr.Markdown(text, elem_classes="status", min_height=28)


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


class Picker:
    """A strip of `examples` and a button to upload an image; a choice goes through `show` to `outputs`."""

    def __init__(self, examples: Float[Tensor, "n c h w"]) -> None:
        self.examples = examples
        self.chosen = gr.State(examples[0])
        """The chosen image `c h w` in [-1, 1], at first examples[0]."""
        self.which = gr.Number(1, visible=False, precision=0)
        """Which one it is, from 1; 0 for an upload."""
        with gr.Row(elem_classes="picker"):
            self.gallery = gr.Gallery(
                [picture(x) for x in examples],
                label="Pick an image",
                columns=len(examples),
                height="auto",
                allow_preview=False,
                interactive=False,
                format="png",
                buttons=[],
                elem_classes=["pixels", "picks"],
                min_width=240,
            )
            self.upload = gr.UploadButton(
                "Upload an image",
                type="binary",
                file_types=["image"],
                variant="secondary",
                size="md",
                scale=0,
                min_width=170,
            )

    def connect(
        self, show: Callable[[Tensor], Any], outputs: Sequence[Any], shared: Shared, named: bool = True
    ) -> None:
        """A choice shows what `show` makes of it; with `named` also one that came with an address."""
        channels, size = self.examples.shape[1:3]

        def pick(event: gr.SelectData) -> list:
            x = self.examples[int(event.index)]  # type: ignore[arg-type]
            return [x, int(event.index) + 1, *show(x)]  # type: ignore[arg-type]

        def bring(data: bytes) -> list:
            x = to_image(data, channels, size)
            return [x, 0, *show(x)]

        def arrive(which: float) -> list:
            x = self.examples[int(which) - 1]
            return [x, *show(x)]

        event = {**QUICK, "show_progress": "hidden"}
        to = [self.chosen, self.which, *outputs]
        shared.noted_after(self.gallery.select(in_words(pick), None, to, **event))
        shared.noted_after(self.upload.upload(in_words(bring), self.upload, to, **event))
        if named:
            shared.arrived.change(in_words(arrive), self.which, [self.chosen, *outputs], **event)


def to_image(data: bytes, channels: int, size: int) -> Float[Tensor, "c h w"]:
    """The bytes of an image file -> its largest centred square in [-1, 1]. Raises Unusable if they are not an image."""
    wanted: Literal[1, 3] = 1 if channels == 1 else 3
    form = Form(sizes=(size,), channels=wanted, pixel_limit=LIMITS.pixels)
    return squared(decode(data, form, shrink=True), form)
