"""Image completion: the latent whose image agrees with the visible pixels (section 4.4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from crvae.devices import quick_arithmetic
from crvae.errors import UserError
from crvae.models.discriminator import Discriminator
from crvae.models.gaussian import standard_draws
from crvae.models.given import check_images
from crvae.models.model import Model
from crvae.models.prior import NormalPrior, Prior
from crvae.tasks.descent import OPTIMISERS
from crvae.tasks.occlusion import occlude, wide_mask
from crvae.tasks.realism import Realism
from crvae.tasks.search import GAMMA, Search

CHECK = 10
"""Steps between two looks at who is finished."""
PATIENCE = 3
"""A restart is finished when this many looks in a row found its loss down by less than TOLERANCE of itself."""
TOLERANCE = 2e-3
ROWS = 8
"""Rows of a pass through the networks where every digit counts: how a processor rounds depends on the size of a batch."""


@dataclass(frozen=True)
class Completions:
    """All restarts of every image, the lowest loss first."""

    images: Float[Tensor, "b r c h w"]
    z: Float[Tensor, "b r *d"]
    losses: dict[str, Float[Tensor, "b r"]]
    """`total` = `reconstruction` + gamma `prior` + tau `adversarial`: squared error over the visible values, -log p(z) but
    for a constant (for N(0, I) it is |z|^2 / 2), log(1 - D)."""
    steps: Int64[Tensor, "b r"]
    """Steps that each restart took."""

    @property
    def best(self) -> Float[Tensor, "b c h w"]:
        return self.images[:, 0]


@torch.inference_mode(False)
@torch.enable_grad()
def complete(
    model: Model,
    x: Float[Tensor, "b c h w"],
    mask: Shaped[Tensor, ...],
    discriminator: Discriminator | None = None,
    search: Search | None = None,
    *,
    first: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Completions:
    """Minimises |x_hat m - x m|^2 - gamma log p(z) + tau log(1 - D(x_hat)) over z, for every image and restart.

    (The paper prints + gamma, which would push z away from the prior.) Images are in [-1, 1]; `mask` is 1 where pixels are
    visible and 0 where they are hidden, one for all images or `b 1 h w`. Every image is completed as if it were alone:
    neither the others nor the number of restarts change what a restart finds; `first` is the place of x[0] among all images,
    where they come in parts (exactly with L-BFGS; Adam's steps are rounded to bf16 where the processor is faster by it, and differ by
    that rounding). Without a discriminator tau is 0, unless `search` says otherwise; with
    one that was never trained it is 0 whatever `search` says. `progress` is told the steps
    done and the most that there can be.

    Puts the networks in evaluation mode. Raises UserError if the images are not of the model's shape or not finite, the
    mask not of theirs, empty or full, or tau is above 0 without a discriminator.
    """
    if discriminator is not None and discriminator.untrained:
        discriminator, search = None, replace(search or Search(), tau=0.0)
    if search is None:
        search = Search() if discriminator is not None else Search(tau=0.0)
    search = weighed(search, model)
    mask = check(model, x, mask).to(model.device)
    if search.tau and discriminator is None:
        raise UserError(
            f"Search(tau={search.tau:g}) needs a discriminator. Pass discriminator=crvae.load_discriminator(RUN), or Search(tau=0)"
        )
    model = model.eval()
    realism = Realism(discriminator, model) if discriminator is not None and search.tau else None
    x = x.clone() if x.is_inference() else x  # else no gradient could pass by it
    x = x.to(model.device, memory_format=torch.channels_last)  # as the decoder's output
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    count, restarts = len(x), search.restarts
    z = starts(model, x, mask, search, first).flatten(0, 1)  # (r b) *d
    target, visible = x.repeat(restarts, 1, 1, 1), mask.repeat(restarts, 1, 1, 1)
    z, steps = _descend(model, realism, target, visible, z, search, progress)
    with torch.no_grad():
        decoded, terms = [], []
        for rows in torch.arange(len(z)).split(128):
            decoded.append(model.decode(z[rows]))
            terms.append(_terms(model.prior, decoded[-1], z[rows], target[rows], visible[rows], realism, search))
    losses = {name: torch.cat([part[name] for part in terms]) for name in terms[0]}
    order = losses["total"].unflatten(0, (restarts, count)).argsort(0)  # r b

    def ranked(values: Tensor) -> Tensor:
        values = values.unflatten(0, (restarts, count))
        return values[order, torch.arange(count, device=values.device)].transpose(0, 1).cpu()

    return Completions(ranked(torch.cat(decoded)), ranked(z), {k: ranked(v) for k, v in losses.items()}, ranked(steps))


def check(model: Model, x: Float[Tensor, "b c h w"], mask: Shaped[Tensor, ...]) -> Float[Tensor, "b 1 h w"]:
    """The mask, one for each image. Raises UserError as `complete` says."""
    check_images(x, model.image_shape, dtype=next(model.parameters()).dtype)
    finite = x.isfinite().flatten(1).all(1)
    if not finite.all():
        raise UserError(
            f"images must be numbers in [-1, 1], image {int((~finite).int().argmax())} has NaN or infinity."
            " Set these pixels to 0 and hide them by the mask"
        )
    wide = wide_mask(mask, x)
    visible = wide.flatten(1).sum(1)
    if (visible == 0).any() or (visible == wide[0].numel()).any():
        raise UserError("the mask must leave some pixels visible and hide some: choose another region")
    return wide.expand(len(x), -1, -1, -1)


def weighed(search: Search, model: Model) -> Search:
    """The search with the weight of the model's prior, where it has none."""
    gamma = GAMMA["normal" if isinstance(model.prior, NormalPrior) else "learned"]
    return replace(search, gamma=gamma) if search.gamma is None else search


@torch.no_grad()
def starts(
    model: Model, x: Float[Tensor, "b c h w"], mask: Float[Tensor, "b 1 h w"], search: Search, first: int = 0
) -> Float[Tensor, "r b *d"]:
    """Where the restarts begin. Image and restart decide a draw, not how many of either there are.

    From the posterior the first restart takes the mean, the others samples; hidden pixels have the visible ones' mean colour.
    """
    seeds = [search.seed + restart for restart in range(search.restarts)]
    if search.start == "prior":
        return torch.stack([model.prior.sample(first + len(x), seed)[first:] for seed in seeds])
    shape, count = model.latent_shape, first + len(x)
    draws = [standard_draws(shape, count, torch.Generator().manual_seed(seed))[first:] for seed in seeds]
    noise = torch.stack(draws).to(model.device)
    colour = (x * mask).sum((2, 3), keepdim=True) / mask.sum((2, 3), keepdim=True)
    noise[0] = 0

    def drawn(rows: Tensor, share: Tensor) -> Tensor:
        posterior = model.encode(rows)
        return (posterior.mean[:, None] + torch.exp(0.5 * posterior.log_variance)[:, None] * share).flatten(1)

    found = in_parts(drawn, occlude(x, mask) + colour * (1 - mask), noise.transpose(0, 1))
    return found.view(len(x), search.restarts, *shape).transpose(0, 1)


def in_parts(work: Callable[..., Tensor], *rows: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
    """`work` on ROWS rows at a time, the last part filled up with its last row: a result depends on its own row alone."""
    results = []
    for start in range(0, len(rows[0]), ROWS):
        part = [values[start : start + ROWS] for values in rows]
        count = len(part[0])
        full = [torch.cat([p, p[-1:].expand(ROWS - count, *p.shape[1:])]) for p in part] if count < ROWS else part
        results.append(work(*full)[:count])
    return torch.cat(results)


def _descend(
    model: Model,
    realism: Realism | None,
    x: Float[Tensor, "n c h w"],
    mask: Float[Tensor, "n 1 h w"],
    z: Float[Tensor, " n *d"],
    search: Search,
    progress: Callable[[int, int], None] | None,
) -> tuple[Float[Tensor, " n *d"], Int64[Tensor, " n"]]:
    """Each row's best z, and the steps that it took; finished rows leave the batch."""
    n = len(z)
    best_z, best = z.clone(), z.new_full((n,), torch.inf)
    last, stalled = best.clone(), torch.zeros(n, dtype=torch.long, device=z.device)
    steps = torch.zeros(n, dtype=torch.long, device=z.device)
    rows = torch.arange(n, device=z.device)  # those still searching
    optimiser = OPTIMISERS[search.optimiser](z, search.rate)

    quick = quick_arithmetic(model.device)

    def total(points: Tensor, x: Tensor, mask: Tensor) -> Tensor:
        return _terms(model.prior, model.decode(points), points, x, mask, realism, search)["total"]

    def evaluate(points: Tensor) -> Tensor:
        if search.optimiser == "lbfgs":  # a line search needs every digit
            return in_parts(total, points, x, mask)
        with quick:
            return total(points, x, mask)

    for step in range(1, search.steps + 1):
        losses, points = optimiser.step(evaluate)
        lower = losses < best[rows]
        best_z[rows[lower]], best[rows[lower]] = points[lower], losses[lower]
        if step % CHECK == 0 or step == search.steps:
            steps[rows] = step
            now, before = best[rows], last[rows]
            slow = ~(before - now > TOLERANCE * now.abs())
            stalled[rows] = torch.where(slow, stalled[rows] + 1, 0)
            last[rows] = torch.where(slow, before, now)
            searching = stalled[rows] < PATIENCE
            if not searching.all():
                optimiser.keep(searching)
                rows, x, mask = rows[searching], x[searching], mask[searching]
            if progress is not None:
                progress(step, search.steps)
            if not len(rows):
                break
    return best_z, steps


def _terms(
    prior: Prior,
    x_hat: Float[Tensor, "n c h w"],
    z: Float[Tensor, " n *d"],
    x: Float[Tensor, "n c h w"],
    mask: Float[Tensor, "n 1 h w"],
    realism: Realism | None,
    search: Search,
) -> dict[str, Float[Tensor, " n"]]:
    terms = {
        "reconstruction": ((x_hat - x) * mask).square().sum((1, 2, 3)),
        "prior": prior.potential(z),
    }
    assert search.gamma is not None, "`weighed` has given it"
    terms["total"] = terms["reconstruction"] + search.gamma * terms["prior"]
    if realism is not None:
        terms["adversarial"] = -F.softplus(realism(x_hat))  # log(1 - D)
        terms["total"] = terms["total"] + search.tau * terms["adversarial"]
    return terms
