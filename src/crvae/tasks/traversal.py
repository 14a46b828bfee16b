"""Walks through the latent space, time step by time step (section 4.5, Figures 9 to 11).

Every walk takes latents `r *d`, from `model.prior.sample` or an image's posterior, and gives images `r k c h w` in [-1, 1]: a row for
each latent. Time steps t count from 1, as in the text.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from crvae.errors import UserError
from crvae.models.autoencoder import SAMPLE_BATCH
from crvae.models.given import check_count, check_steps
from crvae.models.model import Model, steps_of


def progression(model: Model, z: Float[Tensor, " r *d"]) -> Float[Tensor, "r t1 c h w"]:
    """Figure 9: from the prior's mean, block after block. Column t = 0..T uses the first t blocks, the rest is at the prior's mean."""
    return torch.stack([decode_all(model, z, t) for t in range(steps_of(model) + 1)], 1)


def interpolation(
    model: Model, z: Float[Tensor, " r *d"], target: Float[Tensor, "#r *d"], step: int, points: int = 8
) -> Float[Tensor, "r points c h w"]:
    """Figure 10: block `step` = 1..T moves in equal parts from z's to `target`'s, the other blocks stay.

    Raises UserError for another step, for `points` below 1, and for a target that is not one latent or one for each of z's.
    """
    model.prior.check(z)
    check_count(points, "points")
    if target.shape[1:] != z.shape[1:] or len(target) not in (1, len(z)):
        raise UserError(
            f"target must have the shape of z, {tuple(z.shape)}, or of one of its rows, got {tuple(target.shape)}"
        )
    walks = []
    for share in torch.linspace(0, 1, points).tolist():
        block = torch.lerp(z, target.expand_as(z).to(z), share)
        walks.append(decode_all(model, replace_block(model, z, block, step)))
    return torch.stack(walks, 1)


def styles(
    model: Model, z: Float[Tensor, " r *d"], noise: Float[Tensor, " k *n"], step: int
) -> Float[Tensor, "r k1 c h w"]:
    """Figure 11: column 0 as it is; in the others block `step` = 1..T is drawn anew given the other blocks.

    A column has one row of `noise`, from `model.prior.noise`, for all rows; under N(0, I) that is the block itself. Raises
    UserError for another step, and for noise of another shape.
    """
    model.prior.check(z)
    if noise.shape[1:] != model.prior.noise_shape:
        needed = ("k", *model.prior.noise_shape)
        raise UserError(
            f"noise must be {' '.join(map(str, needed))}, as model.prior.noise draws it, got {tuple(noise.shape)}"
        )
    others = [decode_all(model, redrawn(model, z, draw, step)) for draw in noise]
    return torch.stack([decode_all(model, z), *others], 1)


@torch.no_grad()
def redrawn(model: Model, z: Float[Tensor, " r *d"], noise: Float[Tensor, " *n"], step: int) -> Float[Tensor, " r *d"]:
    """z with block `step` = 1..T of every row drawn given its others, from the same noise. Raises UserError for another step."""
    check_steps(step, steps_of(model), least=1)
    noise = noise.to(z.device).expand(len(z), *model.prior.noise_shape)
    return model.prior.replace(z, step, noise)


def replace_block(
    model: Model, z: Float[Tensor, " r *d"], source: Float[Tensor, " r *d"], step: int
) -> Float[Tensor, " r *d"]:
    """z with block `step` = 1..T of `source`. Raises UserError for another step."""
    check_steps(step, steps_of(model), least=1)
    return model.prior.swapped(z, source, step)


@torch.no_grad()
def decode_all(model: Model, z: Float[Tensor, " r *d"], steps: int | None = None) -> Float[Tensor, "r c h w"]:
    """`model.decode`, a batch at a time, to the CPU."""
    return torch.cat([model.decode(part, steps).cpu() for part in z.split(SAMPLE_BATCH)])
