"""What a run may hold: a Stage1 model, or a Stage2 model around one."""

from __future__ import annotations

from crvae.models.autoencoder import Autoencoder
from crvae.models.upsampler import Upsampler

Model = Autoencoder | Upsampler


def stage1_of(model: Model) -> Autoencoder:
    """The autoencoder whose latents they are."""
    return model.stage1 if isinstance(model, Upsampler) else model


def steps_of(model: Model) -> int:
    """Time steps T; for dense and convolutional models the number of arbitrary channel groups used in their place."""
    return stage1_of(model).config.steps
