"""An image on its way: its .crz file block by block, and what each block adds."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from crvae.models.model import steps_of
from crvae.tasks.codec import Codec
from crvae.tasks.crz_file import unpack
from crvae.training.classifier import Classifier
from crvae.web.demo.exhibits import Exhibit
from crvae.web.demo.sheets import FilmFrame, film
from crvae.web.demo.widgets import picture

NAME = "the image"
"""What messages call the file."""
SHOWN = 3
"""Attributes that a caption names; further ones are counted."""


@dataclass
class Parcel:
    """One image, coded by one model, and the pictures of the blocks received so far."""

    title: str
    data: bytes
    sizes: list[int]
    """Bytes of the file cut after 0, 1 .. blocks."""
    nats: list[float]
    """KL divergence of each block from the prior."""
    truth: dict[str, int] = field(default_factory=dict)
    """What the classifier sees in the image itself, by attribute."""
    pictures: list[Image.Image] = field(default_factory=list)
    right: list[frozenset[str]] = field(default_factory=list)
    """For each picture, the attributes that the classifier sees in it as in the image."""

    def bytes_after(self, t: int) -> int:
        """Bytes received with the first t blocks; blocks that say nothing are not in the file."""
        return self.sizes[min(t, len(self.sizes) - 1)]

    def status(self) -> str:
        """What has come, and what comes next."""
        t, most = len(self.pictures) - 1, len(self.nats)
        blocks = f"{t} of {most} blocks" if t else "Nothing but the file's header"
        text = f"**{self.title}**: {blocks}, {self.bytes_after(t)} of {self.sizes[-1]} bytes received. "
        if t == most:
            return text + f"That is all: {sum(self.nats):.1f} nats."
        return (
            text
            + f"The next block adds {self.bytes_after(t + 1) - self.bytes_after(t)} bytes ({self.nats[t]:.1f} nats)."
        )

    def film(self) -> str:
        """A frame for every block; those that have not come are empty."""
        return film(f"Block by block, {self.title}", [self._frame(t) for t in range(len(self.nats) + 1)])

    def _frame(self, t: int) -> FilmFrame:
        title = f"block {t}" if t else "no block"
        if t >= len(self.pictures):
            return FilmFrame(None, title)
        size = self.bytes_after(t)
        lines = [f"{size} bytes"]
        if t:
            lines = [f"+{size - self.bytes_after(t - 1)} bytes, now {size}", f"+{self.nats[t - 1]:.1f} nats"]
        if self.truth:
            lines.append(f"attributes: {len(self.right[t])} of {len(self.truth)}")
            new = sorted(self.right[t] - self.right[t - 1]) if t else []
            if new:
                more = f" and {len(new) - SHOWN} more" if len(new) > SHOWN else ""
                lines.append(f"new: {', '.join(new[:SHOWN]).replace('_', ' ')}{more}")
        return FilmFrame(self.pictures[t], title, tuple(lines))


class Sender:
    """Codes images by one model."""

    def __init__(self, exhibit: Exhibit, classifier: Classifier | None) -> None:
        self.exhibit = exhibit
        self.classifier = classifier
        self.codec = Codec(exhibit.model)
        self.steps = steps_of(exhibit.model)

    @torch.no_grad()
    def pack(self, x: Float[Tensor, "c h w"]) -> Parcel:
        """The image as a file of the finest quality, of which the header alone has been received."""
        model = self.exhibit.model
        posterior = self.exhibit.stage1.encode(x[None].to(model.device))
        (data,) = self.codec.compress(posterior)
        kl = model.prior.kl(posterior, per_image=True, generator=torch.Generator(model.device).manual_seed(0))
        parcel = Parcel(self.exhibit.title, data, unpack(data, NAME).sizes(), kl[0].tolist(), self._seen(x[None]))
        self.receive(parcel)
        return parcel

    def receive(self, parcel: Parcel) -> None:
        """Decodes the file cut after one more block than before."""
        t = len(parcel.pictures)
        image = self.codec.image(parcel.data[: parcel.bytes_after(t)], NAME)
        seen = self._seen(image[None])
        parcel.pictures.append(picture(image))
        parcel.right.append(frozenset(name for name, value in seen.items() if value == parcel.truth[name]))

    @torch.no_grad()
    def _seen(self, images: Float[Tensor, "1 c h w"]) -> dict[str, int]:
        if self.classifier is None:
            return {}
        device = self.exhibit.model.device
        return {name: int(value[0]) for name, value in self.classifier.to(device).values(images).items()}
