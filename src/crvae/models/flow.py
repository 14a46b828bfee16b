"""A rectified flow over the time-step blocks, with a noise level of its own for every block.

Level s of a block: 0 is pure noise, 1 is clean, between them x_s = (1 - s) noise + s z. The network sees all blocks with their
levels and predicts the velocity z - noise of each (Liu et al. 2023); trained with some blocks clean and the others at any level, it
draws all blocks at once, those behind a prefix, or one given all others. A perceptron over all blocks learned
faster in equal time, and answers faster, than a transformer with the blocks as its tokens.
"""

from __future__ import annotations

import copy
import math
from typing import TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crvae.config.prior import FlowPriorConfig
from crvae.errors import UserError
from crvae.models.gaussian import DiagonalGaussian, blocks, standard_draws
from crvae.models.prior import LearnedPrior

FREQUENCIES = 32
"""Sines, and as many cosines, that describe a level."""

POTENTIAL_LEVELS = 8
"""Levels at which `potential` looks, evenly in their logit from -POTENTIAL_LOGIT to POTENTIAL_LOGIT."""
POTENTIAL_LOGIT = 3.0

Layer = TypeVar("Layer", bound=nn.Module)


class FlowBlock(nn.Module):
    """A residual perceptron: `b w -> b w`."""

    def __init__(self, width: int, expansion: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, expansion * width), nn.Linear(expansion * width, width)
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.down.bias)

    def forward(self, x: Float[Tensor, "b w"]) -> Float[Tensor, "b w"]:
        return x + self.down(F.silu(self.up(self.norm(x))))


class FlowPrior(LearnedPrior):
    """The learned prior whose draws look best; it has no density that is cheap to compute."""

    configuration = FlowPriorConfig
    title = "rectified flow over the time steps"
    kl_from = "the Gaussian with each value's mean and deviation over the images"
    has_density = False
    config: FlowPriorConfig

    def __init__(self, config: FlowPriorConfig, shape: tuple[int, ...], steps: int):
        super().__init__(config, shape, steps)
        width, values = config.width, steps * self.size
        self.enter = nn.Linear(values, width)
        self.level = nn.Linear(2 * FREQUENCIES * steps, width)
        self.blocks = nn.ModuleList(FlowBlock(width, config.expansion) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, values)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, x: Float[Tensor, "b t k"], levels: Float[Tensor, "#b t"]) -> Float[Tensor, "b t k"]:
        """Standardised blocks x at their levels -> the velocity of each."""
        return self._velocity(x, self._described(levels))

    def _described(self, levels: Float[Tensor, "b t"]) -> Float[Tensor, "b w"]:
        """What the levels add to the residual path."""
        powers = torch.linspace(0, math.log(1000), FREQUENCIES, dtype=torch.float32, device=levels.device)
        angles = levels[..., None].float() * powers.exp()
        return self.level(torch.cat([angles.sin(), angles.cos()], -1).flatten(1))

    def _velocity(self, x: Float[Tensor, "b t k"], level: Float[Tensor, "#b w"]) -> Float[Tensor, "b t k"]:
        h = self.enter(x.flatten(1)) + level
        for block in self.blocks:
            h = block(h)
        return self.leave(self.norm(h)).float().view(x.shape)

    def loss(self, z: Float[Tensor, " b *d"]) -> Float[Tensor, ""]:
        """Mean squared error of the velocity over the noisy blocks, at levels and noise from torch's global generator."""
        x = self.standardised(z)
        noise = torch.randn_like(x)
        levels, noisy = draw_levels(len(x), self.steps, self.config.joint, x.device)
        s = levels[..., None]
        error = (self(torch.lerp(noise, x, s), levels) - (x - noise)).square().mean(-1)  # b t
        return (error * noisy).sum() / noisy.sum()

    def generate(self, noise: Float[Tensor, " b *n"]) -> Float[Tensor, " b *d"]:
        """All blocks at once."""
        return self.restored(self._solved(blocks(noise, self.steps)))

    def extend(self, z: Float[Tensor, " b *d"], t: int, noise: Float[Tensor, " b *n"]) -> Float[Tensor, " b *d"]:
        moving = torch.arange(self.steps, device=z.device) >= t
        return self.joined(z, self._given(z, moving, noise), t)

    def replace(self, z: Float[Tensor, " b *d"], t: int, noise: Float[Tensor, " b *n"]) -> Float[Tensor, " b *d"]:
        moving = torch.arange(1, self.steps + 1, device=z.device) == t
        return self.swapped(z, self._given(z, moving, noise), t)

    def log_prob(self, z: Float[Tensor, " b *d"]) -> Float[Tensor, " b"]:
        """Raises UserError: the flow's density would take an ordinary differential equation and its divergence for every image."""
        raise UserError(
            "the flow prior has no density that can be computed in reasonable time: fit a prior with --prior.kind autoregressive, "
            "or use --prior normal"
        )

    def potential(self, z: Float[Tensor, " b *d"]) -> Float[Tensor, " b"]:
        """A bound on -log p(z) but for a constant: the error of the velocity, integrated over levels (Kingma et al. 2021).

        With x_s = (1 - s) noise + s z the bound is the integral of s^2 |error|^2 over logit s; here a sum over POTENTIAL_LEVELS
        with noise that is always the same, so that a search sees a function of z alone.
        """
        x = self.standardised(z)
        logits = torch.linspace(-POTENTIAL_LOGIT, POTENTIAL_LOGIT, POTENTIAL_LEVELS, dtype=x.dtype, device=z.device)
        fixed = standard_draws((self.steps, self.size), POTENTIAL_LEVELS, torch.Generator().manual_seed(0)).to(x)
        total, network = x.new_zeros(len(x)), self._rounded_once()
        for s, noise in zip(torch.sigmoid(logits), fixed, strict=True):
            error = network(torch.lerp(noise.expand_as(x), x, s), s.expand(1, self.steps)) - (x - noise)
            total = total + s.square() * error.square().sum((1, 2))
        return total * (logits[1] - logits[0])

    def kl(
        self, posterior: DiagonalGaussian, per_image: bool = False, generator: torch.Generator | None = None
    ) -> Float[Tensor, ...]:
        """KL from the Gaussian with the mean and deviation of every value over the images: on average a bound on the rate."""
        scaled = DiagonalGaussian(
            self.standardised(posterior.mean), posterior_log_variance(posterior, self.scale), self.steps
        )
        return scaled.kl(per_step=True, per_image=per_image)

    def _given(
        self, z: Float[Tensor, " b *d"], moving: Bool[Tensor, " t"], noise: Float[Tensor, " b *n"]
    ) -> Float[Tensor, " b *d"]:
        """Blocks that are `moving` from noise to draws, the others clean and as in z."""
        x = torch.where(moving[:, None], blocks(noise, self.steps), self.standardised(z))
        return self.restored(self._solved(x, moving, torch.ones_like(moving, dtype=x.dtype)))

    def _solved(
        self,
        x: Float[Tensor, "b t k"],
        moving: Bool[Tensor, " t"] | None = None,
        others: Float[Tensor, " t"] | None = None,
    ) -> Float[Tensor, "b t k"]:
        """Midpoint steps from level 0 to 1 of the blocks that are `moving`; the `others` stay at their levels."""
        count = self.config.solver_steps
        levels = torch.linspace(0, 1, 2 * count + 1, dtype=x.dtype, device=x.device)[:-1, None].expand(-1, self.steps)
        if moving is not None and others is not None:
            levels = torch.where(moving, levels, others)
        network = self._rounded_once()
        described = [network._described(row) for row in levels.split(1)]

        def velocity(x: Tensor, half: int) -> Tensor:
            found = network._velocity(x, described[half])
            return found if moving is None else found * moving[:, None]

        for step in range(count):
            middle = x + 0.5 / count * velocity(x, 2 * step)
            x = x + 1 / count * velocity(middle, 2 * step + 1)
        return x

    def _rounded_once(self) -> FlowPrior:
        """For many evaluations: itself, or a copy with weights in autocast's precision, which would round them at each."""
        device = self.device.type
        return rounded(self, torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else self


def rounded(layer: Layer, dtype: torch.dtype) -> Layer:
    """A copy that shares everything with `layer` but the weights of linear layers, which are in `dtype`."""
    twin = copy.copy(layer)
    twin._modules = {name: rounded(child, dtype) for name, child in layer.named_children()}
    if isinstance(layer, nn.Linear):
        twin._parameters = {name: weight.to(dtype) for name, weight in layer.named_parameters()}  # type: ignore[assignment]
    return twin


def posterior_log_variance(posterior: DiagonalGaussian, scale: Float[Tensor, "t k"]) -> Float[Tensor, "b t k"]:
    """The log-variance of every value once it is divided by `scale`."""
    return blocks(posterior.log_variance, len(scale)) - 2 * scale.log()


def draw_levels(
    count: int, steps: int, joint: float, device: torch.device
) -> tuple[Float[Tensor, "b t"], Bool[Tensor, "b t"]]:
    """Levels of `count` latents' blocks, and which of them count in the loss; logit-normal, 1 where clean.

    A share `joint` has all blocks at one level. Of the others a third has a clean prefix and one level behind it, a third a clean
    prefix, one block on its way and noise behind it, a third clean blocks anywhere and a level of its own for each other.
    """
    own = torch.sigmoid(torch.randn(count, steps, device=device))
    one = own[:, :1].expand(-1, steps)
    order = torch.arange(steps, device=device).expand(count, -1)
    kept = torch.randint(0, max(steps, 1), (count, 1), device=device)  # 0 .. T-1 clean blocks
    behind, anywhere = order >= kept, torch.rand(count, steps, device=device).argsort(1) >= kept
    kind = torch.rand(count, 1, device=device)
    kind = torch.where(kind < joint, 0, (1 + 3 * (kind - joint) / max(1 - joint, 1e-9)).long().clamp(1, 3))
    levels = torch.where(kind == 3, own, one)
    levels = torch.where((kind == 2) & (order > kept), 0.0, levels)
    clean = ((kind == 1) | (kind == 2)) & ~behind | (kind == 3) & ~anywhere
    counts = ~clean & ~((kind == 2) & (order > kept))
    return torch.where(clean, 1.0, levels), counts
