"""Blocks: an image arrives time step by time step, as a .crz file does on a slow line."""

from __future__ import annotations

from collections.abc import Iterator

import gradio as gr
from jaxtyping import Float
from torch import Tensor

from crvae.training.classifier import Classifier
from crvae.web.demo.address import Shared, whole
from crvae.web.demo.exhibits import Exhibit
from crvae.web.demo.parcel import Parcel, Sender
from crvae.web.demo.widgets import QUICK, Picker, frame, in_words, picture, status_line


class Receiving:
    """What happens on the tab: every model codes the same image, and the page receives it block by block."""

    def __init__(
        self, exhibits: list[Exhibit], examples: Float[Tensor, "n c h w"], classifier: Classifier | None
    ) -> None:
        self.examples = examples
        self.senders = [Sender(exhibit, classifier) for exhibit in exhibits]
        self.most = max(sender.steps for sender in self.senders)

    def shown(self, parcels: list[Parcel]) -> list:
        """What `outputs` show: parcels, blocks received, status, a picture and a film of each model."""
        received = max(len(parcel.pictures) - 1 for parcel in parcels)
        status = "  \n".join(parcel.status() for parcel in parcels)
        each = [value for parcel in parcels for value in (parcel.pictures[-1], parcel.film())]
        return [parcels, received, gr.update(interactive=received < self.most), status, *each]

    def begin(self, x: Float[Tensor, "c h w"]) -> list:
        return [picture(x), *self.shown([sender.pack(x) for sender in self.senders])]

    def step(self, parcels: list[Parcel]) -> None:
        for sender, parcel in zip(self.senders, parcels, strict=True):
            if len(parcel.pictures) <= sender.steps:
                sender.receive(parcel)

    def receive(self, parcels: list[Parcel]) -> list:
        self.step(parcels)
        return self.shown(parcels)

    def receive_all(self, parcels: list[Parcel]) -> Iterator[list]:
        while max(len(parcel.pictures) for parcel in parcels) <= self.most:
            yield self.receive(parcels)
        yield self.shown(parcels)

    def arrive(self, which: float, received: float) -> list:
        x = self.examples[int(which) - 1]
        parcels = [sender.pack(x) for sender in self.senders]
        for _ in range(int(received)):
            self.step(parcels)
        return [x, picture(x), *self.shown(parcels)]


def receiving_tab(exhibits: list[Exhibit], examples: Float[Tensor, "n c h w"], classifier: Classifier | None) -> Shared:
    """The bytes so far, what the next block adds, and a film of what was received."""
    receiving = Receiving(exhibits, examples, classifier)
    first = receiving.begin(examples[0])
    with gr.Tab("Blocks", id="blocks") as tab:
        gr.Markdown(_explanation(exhibits, classifier))
        picker = Picker(examples)
        parcels = gr.State(first[1])
        received = gr.Number(first[2], visible=False, precision=0)
        with gr.Row(elem_classes="buttons"):
            following = gr.Button("Receive the next block", variant="primary", min_width=220, scale=0)
            everything = gr.Button("Receive all", min_width=140, scale=0)
            again = gr.Button("Start again", min_width=140, scale=0)
        status = status_line(first[4])
        with gr.Row():
            original = frame("Image", first[0])
            pictures = [
                frame(f"Received so far, {exhibit.title}", first[5 + 2 * place])
                for place, exhibit in enumerate(exhibits)
            ]
        films = [gr.HTML(first[6 + 2 * place]) for place in range(len(exhibits))]
        shared = Shared(tab, "blocks", ("image", "received"), [picker.which, received])
    each = [output for pair in zip(pictures, films, strict=True) for output in pair]
    outputs = [parcels, received, following, status, *each]
    shared.parsers = (whole(1, len(examples)), whole(0, receiving.most))
    event = {**QUICK, "show_progress": "hidden"}
    for happens in (
        following.click(in_words(receiving.receive), parcels, outputs, **event),
        everything.click(in_words(receiving.receive_all), parcels, outputs, **event),
        again.click(in_words(receiving.begin), picker.chosen, [original, *outputs], **event),
    ):
        shared.noted_after(happens)
    picker.connect(receiving.begin, [original, *outputs], shared, named=False)
    shared.arrived.change(
        in_words(receiving.arrive), [picker.which, received], [picker.chosen, original, *outputs], **event
    )
    return shared


def _explanation(exhibits: list[Exhibit], classifier: Classifier | None) -> str:
    text = "An image arrives as a .crz file, block after block: the outline first, details later."
    if not all(exhibit.stage1.latent.ordered for exhibit in exhibits):
        text += " Blocks of a model that is not recurrent are arbitrary groups of channels: theirs is no order from outline to detail."
    if classifier is not None:
        text += " Attributes: how many the classifier sees in the picture as in the image."
    return text
