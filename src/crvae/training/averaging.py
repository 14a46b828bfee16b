"""The averaged weights that are sampled, and the batch statistics that belong to them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crvae.models.autoencoder import Autoencoder
from crvae.training.nesting import prefixes

RAMP = 0.05
"""The half-life is at most this share of the images seen, so that the first random weights are soon forgotten."""

Module = TypeVar("Module", bound=nn.Module)


def average_of(module: Module) -> Module:
    """A copy of `module` to hold its averaged weights: in evaluation mode, without gradients."""
    return copy.deepcopy(module).eval().requires_grad_(False)


@torch.no_grad()
def update(average: nn.Module, module: nn.Module, *, images: int, batch: int, half_life: int) -> None:
    """One exponential step of the average after `batch` more images, `images` seen in all; half-life in images."""
    half_images = min(half_life, RAMP * images)
    share = 1 - 0.5 ** (batch / half_images) if half_images else 1.0
    torch._foreach_lerp_(list(average.parameters()), list(module.parameters()), share)


@contextmanager
def recalibrating(module: nn.Module) -> Iterator[None]:
    """Inside, `module` collects batch norm's running statistics anew, as plain means over what passes through it."""
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative mean
        norm.train()
    yield
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


@torch.no_grad()
def recalibrate(
    model: Autoencoder,
    batches: Iterable[Float[Tensor, "b c h w"]],
    seed: int = 0,
    *,
    samples: bool = True,
    nested: float = 0.0,
) -> None:
    """Recomputes batch norm's running statistics as plain means over mixed [posterior; prior] batches.

    Against a discriminator that sees samples, training normalises the decoder over both kinds at once; without this, averaged
    weights would meet statistics of other weights. Without `samples` over posteriors alone, where training decodes nothing else.
    `nested` is the objective's: as in training, so many of the posteriors are decoded from a prefix of their blocks.
    The draws depend on `seed` alone and leave the global random state as it was.
    """
    generator = torch.Generator(model.device).manual_seed(seed)
    with recalibrating(model):
        for x in batches:
            z = prefixes(model, model.encode(x).sample(generator), nested, generator)
            if samples:
                z = torch.cat([z, model.prior.draw_like(z.contiguous(), generator)])
            model.decode(z)
