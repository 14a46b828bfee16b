"""p(z), where samples come from: one interface for every prior, and the standard normal, which is the paper's.

Latents `b *d` fall into `steps` blocks of consecutive channels. Every draw is a function of standard normal noise, `noise_shape` for
an image, so a seed gives the same latents on every prior of one kind, and the first of them whatever the count.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from crvae.config.prior import NormalPriorConfig
from crvae.models.gaussian import DiagonalGaussian, blocks, standard_draws, standard_log_prob
from crvae.models.given import check_count, check_latents, check_precision, check_steps, seeded_generator

BATCH = 128
"""Latents drawn at once by `sample`: its memory, not its result, depends on it."""

LEAST_DEVIATION = 1e-4
"""Of a value that is standardised."""


class Prior(nn.Module, ABC):
    """What every prior has. A new one gives `generate`, `extend`, `replace`, `mean`, `kl`, and `log_prob` where it has a density."""

    configuration: ClassVar[type[Any]]
    """The class of its configuration."""
    title: ClassVar[str]
    """What it is called in cards and messages."""
    kl_is_exact: ClassVar[bool] = False
    """Whether `kl` is computed, not estimated from draws or replaced by another Gaussian's."""
    kl_from: ClassVar[str] = ""
    """What `kl` is measured from, where not from the prior itself."""
    has_density: ClassVar[bool] = True
    """Whether it has a `log_prob`."""

    def __init__(self, config: Any, shape: tuple[int, ...], steps: int):
        """`shape`: of one image's z; `steps`: its blocks, which must divide its values."""
        super().__init__()
        self.config = config
        self.shape = shape
        self.steps = steps
        self.size = math.prod(shape) // steps
        """Values of a block."""
        self.register_buffer("_place", torch.empty(0), persistent=False)  # knows the device, holds nothing

    @property
    def device(self) -> torch.device:
        return self._place.device  # type: ignore[union-attr]

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """Shape of the noise behind one draw; flat, it falls into `steps` blocks as z does."""
        return self.shape

    @property
    @abstractmethod
    def mean(self) -> Float[Tensor, " *d"]:
        """The mean of z under the prior."""

    @abstractmethod
    def generate(self, noise: Float[Tensor, " b *n"]) -> Float[Tensor, " b *d"]:
        """Standard normal noise -> draws of z."""

    @abstractmethod
    def extend(self, z: Float[Tensor, " b *d"], t: int, noise: Float[Tensor, " b *n"]) -> Float[Tensor, " b *d"]:
        """The first t blocks of z, and the blocks after them drawn given those from `noise`."""

    @abstractmethod
    def replace(self, z: Float[Tensor, " b *d"], t: int, noise: Float[Tensor, " b *n"]) -> Float[Tensor, " b *d"]:
        """z with block t (from 1) drawn given all others from `noise`."""

    @abstractmethod
    def log_prob(self, z: Float[Tensor, " b *d"]) -> Float[Tensor, " b"]:
        """Log-density of z, float32 or float64, in nats an image, constants included. Raises UserError if the prior has none,
        or the shape, type or device of z is not its own.
        """

    def potential(self, z: Float[Tensor, " b *d"]) -> Float[Tensor, " b"]:
        """-log p(z) but for a constant, in nats an image: what a search over z pays (section 4.4).

        Raises UserError if the shape, type or device of z is not the prior's.
        """
        return -self.log_prob(z)

    @abstractmethod
    def kl(
        self, posterior: DiagonalGaussian, per_image: bool = False, generator: torch.Generator | None = None
    ) -> Float[Tensor, ...]:
        """KL(q(z|x) || p(z)) of every block in nats an image, `t`: the mean over images, or with `per_image` `b t`.

        `generator` is for priors that estimate it (`kl_is_exact` is false) from a draw of each posterior.
        """

    def check(self, z: object, *, exact: bool = False) -> None:
        """Raises UserError if `z` is not latents `b *d` of the prior's shape and device, float32 or, with `exact`, float64."""
        check_latents(z, self.shape, dtype=self._place.dtype, device=self.device, exact=exact)  # type: ignore[arg-type]

    def noise(self, count: int, seed: int = 0) -> Float[Tensor, " b *n"]:
        """The standard normal noise of `count` draws, a function of the seed alone."""
        return standard_draws(self.noise_shape, count, seeded_generator(seed)).to(self.device)

    def draws(self, count: int, seed: int = 0, batch: int = BATCH) -> Iterator[Float[Tensor, " b *d"]]:
        """`sample(count, seed)`, a batch at a time: memory does not grow with `count`."""
        check_precision(self._place.dtype)  # type: ignore[arg-type]
        generator = seeded_generator(seed)
        for first in range(0, count, batch):
            noise = standard_draws(self.noise_shape, min(batch, count - first), generator)
            with torch.no_grad():  # around the whole it would be lost where another decorator hides a generator
                z = self.generate(noise.to(self.device))
            yield z

    def sample(self, count: int, seed: int = 0) -> Float[Tensor, " b *d"]:
        """`count` draws of z, a function of the seed alone; the first n are the same whatever `count`, but for rounding.

        Raises UserError if `count` is below 1.
        """
        check_count(count)
        return torch.cat(list(self.draws(count, seed)))

    @torch.no_grad()
    def draw_like(self, z: Float[Tensor, " b *d"], generator: torch.Generator | None = None) -> Float[Tensor, " b *d"]:
        """As many draws as `z` has, on its device, from `generator` or torch's global one."""
        noise = z.new_empty((len(z), *self.noise_shape)).normal_(generator=generator)
        return self.generate(noise).to(z.dtype)

    @torch.no_grad()
    def fill(self, z: Float[Tensor, " b *d"], t: int, seed: int = 0) -> Float[Tensor, " b *d"]:
        """The first t = 0..T blocks of z, and the rest drawn given those. Raises UserError for another t, and for another z."""
        self.check(z)
        check_steps(t, self.steps)
        return z.clone() if t == self.steps else self.extend(z, t, self.noise(len(z), seed))

    @torch.no_grad()
    def redraw(self, z: Float[Tensor, " b *d"], t: int, seed: int = 0) -> Float[Tensor, " b *d"]:
        """z with block t = 1..T drawn anew given all others. Raises UserError for another t, and for another z."""
        self.check(z)
        check_steps(t, self.steps, least=1)
        return self.replace(z, t, self.noise(len(z), seed))

    def mean_fill(self, z: Float[Tensor, " b *d"], t: int | Int64[Tensor, " b"]) -> Float[Tensor, " b *d"]:
        """The first t = 0..T blocks of z, and the rest at the prior's mean; t may differ from image to image.

        Raises UserError for another number, a tensor of another shape, and for another z. A tensor's values are not read.
        """
        self.check(z)
        if not (isinstance(t, Tensor) and t.shape == z.shape[:1]):
            check_steps(t, self.steps)
        return self.joined(z, self.mean.expand_as(z), t)

    def joined(
        self, z: Float[Tensor, " b *d"], rest: Float[Tensor, " b *d"], t: int | Int64[Tensor, " b"]
    ) -> Float[Tensor, " b *d"]:
        """The first t blocks of `z`, the others of `rest`."""
        first = t[:, None, None] if isinstance(t, Tensor) else t
        kept = torch.arange(self.steps, device=z.device)[:, None] < first
        return torch.where(kept, blocks(z, self.steps), blocks(rest, self.steps)).view(z.shape)

    def swapped(self, z: Float[Tensor, " b *d"], other: Float[Tensor, " b *d"], t: int) -> Float[Tensor, " b *d"]:
        """z with block t (from 1) of `other`."""
        chosen = torch.arange(1, self.steps + 1, device=z.device)[:, None] == t
        return torch.where(chosen, blocks(other, self.steps), blocks(z, self.steps)).view(z.shape)


class NormalPrior(Prior):
    """N(0, I): the noise itself. Blocks are independent, so given the others a block is drawn as if alone."""

    configuration = NormalPriorConfig
    title = "standard normal, N(0, I)"
    kl_is_exact = True
    stands_in: bool = False
    """Whether it stands in the place of the model's own, as `load(..., prior="normal")` puts it."""

    @property
    def mean(self) -> Float[Tensor, " *d"]:
        return torch.zeros(self.shape, dtype=torch.float32, device=self.device)

    def generate(self, noise: Float[Tensor, " b *n"]) -> Float[Tensor, " b *d"]:
        return noise

    @torch.no_grad()
    def draw_like(self, z: Float[Tensor, " b *d"], generator: torch.Generator | None = None) -> Float[Tensor, " b *d"]:
        return torch.empty_like(z).normal_(generator=generator)

    def extend(self, z: Float[Tensor, " b *d"], t: int, noise: Float[Tensor, " b *n"]) -> Float[Tensor, " b *d"]:
        return self.joined(z, noise, t)

    def replace(self, z: Float[Tensor, " b *d"], t: int, noise: Float[Tensor, " b *n"]) -> Float[Tensor, " b *d"]:
        return self.swapped(z, noise, t)

    def log_prob(self, z: Float[Tensor, " b *d"]) -> Float[Tensor, " b"]:
        self.check(z, exact=True)
        return standard_log_prob(z)

    def potential(self, z: Float[Tensor, " b *d"]) -> Float[Tensor, " b"]:
        """|z|^2 / 2."""
        self.check(z, exact=True)
        return 0.5 * z.square().flatten(1).sum(1)

    def kl(
        self, posterior: DiagonalGaussian, per_image: bool = False, generator: torch.Generator | None = None
    ) -> Float[Tensor, ...]:
        return posterior.kl(per_step=True, per_image=per_image)


class LearnedPrior(Prior):
    """A prior with weights, over blocks standardised value by value; `fit_scale` comes first, then `loss` is minimised."""

    def __init__(self, config: Any, shape: tuple[int, ...], steps: int):
        super().__init__(config, shape, steps)
        self.register_buffer("shift", torch.zeros(steps, self.size))
        self.register_buffer("scale", torch.ones(steps, self.size))
        self.shift: Tensor
        self.scale: Tensor

    @property
    def mean(self) -> Float[Tensor, " *d"]:
        """The mean of the latents that it was fitted to, or 0 where `fit_scale` was told to leave it there."""
        return self.shift.view(self.shape)

    @abstractmethod
    def loss(self, z: Float[Tensor, " b *d"]) -> Float[Tensor, ""]:
        """What fitting minimises, for draws z of posteriors of training images."""

    @torch.no_grad()
    def fit_scale(
        self, means: Float[Tensor, " n *d"], log_variances: Float[Tensor, " n *d"], centred: bool = True
    ) -> None:
        """Takes every value's mean and deviation from all posteriors: Var z = Var of the means + mean of the variances.

        Without `centred` the prior's `mean` is 0 and the deviation is taken from there: a decoder that was trained with 0 in the
        place of missing blocks (`--objective.nested`) then gets 0 there too.
        """
        means, log_variances = means.flatten(1).double(), log_variances.flatten(1).double()
        shift, variance = means.mean(0), means.var(0, unbiased=False) + log_variances.exp().mean(0)
        if not centred:
            shift, variance = torch.zeros_like(shift), variance + shift.square()
        self.shift.copy_(shift.view_as(self.shift))
        self.scale.copy_(variance.sqrt().clamp_min(LEAST_DEVIATION).view_as(self.scale))

    def standardised(self, z: Float[Tensor, " b *d"]) -> Float[Tensor, "b t k"]:
        """The blocks of z, `b t k`, in units of `scale` about `shift`. Raises UserError if z is not of the prior's shape."""
        self.check(z, exact=self.has_density)
        return (blocks(z, self.steps) - self.shift) / self.scale

    def restored(self, x: Float[Tensor, "b t k"]) -> Float[Tensor, " b *d"]:
        return (x * self.scale + self.shift).flatten(1).unflatten(1, self.shape)
