"""The discriminator's opinion of each image alone, whatever else is in the batch."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from crvae.models.discriminator import Discriminator
from crvae.models.model import Model


class Realism:
    """Images `b c h w` -> logits of being real `b`, the discriminator in evaluation mode.

    Minibatch discrimination judges an image by its likeness to the rest of its group. Here each image is in a whole group
    of its own, beside the same samples of the model; so the images of a batch do not know of each other, and the samples
    pass through the discriminator only once.
    """

    def __init__(self, discriminator: Discriminator, model: Model, seed: int = 0):
        self.discriminator = discriminator.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.company: Tensor | None = None
        if discriminator.company:
            with torch.no_grad():
                self.company = discriminator.remember(model.sample(discriminator.company, seed))

    def __call__(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        return self.discriminator.judge_alone(images, self.company)
