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


def receiving_tab(exhibits: list[Exhibit], examples: Float[Tensor, "n c h w"], classifier: Classifier | None) -> Shared:
    """Every model codes the same image; the page receives it block by block, with the bytes so far and what the next block adds."""
    senders = [Sender(exhibit, classifier) for exhibit in exhibits]
    most = max(sender.steps for sender in senders)

    def shown(parcels: list[Parcel]) -> list:
        """What `outputs` show: parcels, blocks received, status, a picture and a film of each model."""
        received = max(len(parcel.pictures) - 1 for parcel in parcels)
        status = "  \n".join(parcel.status() for parcel in parcels)
        each = [value for parcel in parcels for value in (parcel.pictures[-1], parcel.film())]
        return [parcels, received, gr.update(interactive=received < most), status, *each]

    def begin(x: Float[Tensor, "c h w"]) -> list:
        return [picture(x), *shown([sender.pack(x) for sender in senders])]

    def step(parcels: list[Parcel]) -> None:
        for sender, parcel in zip(senders, parcels, strict=True):
            if len(parcel.pictures) <= sender.steps:
                sender.receive(parcel)

    def receive(parcels: list[Parcel]) -> list:
        step(parcels)
        return shown(parcels)

    def receive_all(parcels: list[Parcel]) -> Iterator[list]:
        while max(len(parcel.pictures) for parcel in parcels) <= most:
            yield receive(parcels)
        yield shown(parcels)

    def arrive(which: float, received: float) -> list:
        x = examples[int(which) - 1]
        parcels = [sender.pack(x) for sender in senders]
        for _ in range(int(received)):
            step(parcels)
        return [x, picture(x), *shown(parcels)]

    first = begin(examples[0])
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
            pictures, films = [], []
            for place, exhibit in enumerate(exhibits):
                pictures.append(frame(f"Received so far, {exhibit.title}", first[5 + 2 * place]))
        films = [gr.HTML(first[6 + 2 * place]) for place in range(len(exhibits))]
        shared = Shared(tab, "blocks", ("image", "received"), [picker.which, received])
    each = [output for pair in zip(pictures, films, strict=True) for output in pair]
    outputs = [parcels, received, following, status, *each]
    shared.parsers = (whole(1, len(examples)), whole(0, most))
    event = {**QUICK, "show_progress": "hidden"}
    for happens in (
        following.click(in_words(receive), parcels, outputs, **event),
        everything.click(in_words(receive_all), parcels, outputs, **event),
        again.click(in_words(begin), picker.chosen, [original, *outputs], **event),
    ):
        shared.noted_after(happens)
    picker.connect(begin, [original, *outputs], shared, named=False)
    shared.arrived.change(in_words(arrive), [picker.which, received], [picker.chosen, original, *outputs], **event)
    return shared


def _explanation(exhibits: list[Exhibit], classifier: Classifier | None) -> str:
    text = "An image arrives as a .crz file, block after block: the outline first, details later."
    if not all(exhibit.stage1.latent.ordered for exhibit in exhibits):
        text += " Blocks of a model that is not recurrent are arbitrary groups of channels: theirs is no order from outline to detail."
    if classifier is not None:
        text += " Attributes: how many the classifier sees in the picture as in the image."
    return text
