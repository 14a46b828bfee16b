"""The discriminator's opinion of each image alone, whatever else is in the batch."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from crvae.models.autoencoder import Autoencoder
from crvae.models.discriminator import Discriminator

WHOLE_BATCH = 64
"""Size of the group where the discriminator was trained on groups as large as its batch."""


class Realism:
    """Images `b c h w` -> logits of being real `b`, the discriminator in evaluation mode.

    Minibatch discrimination judges an image by its likeness to the rest of its group. Here each image stands in a whole group
    of its own, beside the same samples of the model; so the images of a batch do not know of each other, and the samples
    pass through the discriminator only once.
    """

    def __init__(self, discriminator: Discriminator, model: Autoencoder, seed: int = 0):
        self.discriminator = discriminator.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        head = discriminator.adversarial_head
        self.others: Tensor | None = None
        if head.minibatch is not None:
            group = discriminator.config.group or WHOLE_BATCH
            with torch.no_grad():
                hidden = head.represent(discriminator.features(model.sample(group - 1, seed)))
                self.others = head.minibatch.project(hidden).float().unflatten(1, (-1, head.minibatch.kernel_size))

    def __call__(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        head = self.discriminator.adversarial_head
        hidden = head.represent(self.discriminator.features(images))
        if head.minibatch is not None and self.others is not None:
            m = head.minibatch.project(hidden).float().unflatten(1, (-1, head.minibatch.kernel_size))
            distance = (m[:, None] - self.others).abs().sum(-1)  # b g k
            closeness = (1 + torch.exp(-distance).sum(1)) / (1 + len(self.others))
            hidden = torch.cat([hidden, closeness.to(hidden.dtype)], 1)
        return head.logit(hidden)[:, 0].float()
