"""The three latent constructions behind one interface: dense (VAE), convolutional (cVAE), recurrent (crVAE); Figure 2.

A fourth is a `Construction`, and an entry in CONSTRUCTIONS.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from crvae.config.stage1 import ModelConfig, TrainConfig
from crvae.errors import UserError, near
from crvae.models.gaussian import DiagonalGaussian
from crvae.models.layers import Offset
from crvae.models.recurrence import ChannelRecurrence

SIDE = 4
"""Height and width of the bottleneck, in positions."""


class RatedGroup(NamedTuple):
    """Parameters that learn at a rate of their own: a multiple of the run's, and a limit on each gradient value (0: none)."""

    name: str
    parameters: list[nn.Parameter]
    rate: float
    clip: float


class Construction(nn.Module, ABC):
    """What the rest of the package asks of a latent construction, made from a ModelConfig."""

    title: ClassVar[str]
    """What a model card calls a model with it."""
    ordered: ClassVar[bool]
    """Whether its blocks are time steps; else they are arbitrary groups of channels."""
    steps: int
    """Blocks T of z."""
    shape: tuple[int, ...]
    """Shape of one image's z: (z, 4, 4), dense: (n,)."""
    transformed_shape: tuple[int, ...]
    """Shape of one image's u."""
    transform: Callable[[Tensor], Tensor]
    """z -> u, the transformed latent: a method or a layer."""
    project: Callable[[Tensor], Tensor]
    """u -> features for the decoder, `b k 4 4`: a method or a layer."""

    @abstractmethod
    def posterior(self, h: Tensor) -> DiagonalGaussian:
        """Trunk features `b k 4 4` -> q(z|x)."""

    @abstractmethod
    def decoding(self) -> list[nn.Module]:
        """Its parts behind z: what `crvae cost` counts as decoder."""

    def groups(self, train: TrainConfig) -> list[RatedGroup]:
        """Its parameters that do not learn at the trunk's rate."""
        return []


class DenseLatent(Construction):
    """Fully connected in and out of a latent vector: `b (8b) 4 4 -> b n`, n = 16 latent channels (section 3.1)."""

    title: ClassVar[str] = "VAE (dense latent)"
    ordered: ClassVar[bool] = False

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.steps = config.steps
        self.width = 8 * config.width
        values = self.width * SIDE * SIDE
        self.shape = (config.latent_channels * SIDE * SIDE,)
        self.mean = nn.Linear(values, *self.shape)
        self.log_variance = nn.Linear(values, *self.shape)
        self.generate = nn.Linear(*self.shape, values)
        self.transformed_shape = (self.width, SIDE, SIDE)

    def posterior(self, h: Float[Tensor, "b k 4 4"]) -> DiagonalGaussian:
        h = h.flatten(1)
        return DiagonalGaussian(self.mean(h).float(), self.log_variance(h).float(), self.steps)

    def transform(self, z: Float[Tensor, "b n"]) -> Float[Tensor, "b k 4 4"]:
        """FC_gen(z) of section 3.3.3."""
        return self.generate(z).unflatten(1, self.transformed_shape)

    def project(self, u: Float[Tensor, "b k 4 4"]) -> Float[Tensor, "b k 4 4"]:
        return u

    def decoding(self) -> list[nn.Module]:
        return [self.generate]


class ConvolutionalLatent(Construction):
    """Convolutions in and out of latent maps: `b (8b) 4 4 -> b z 4 4` (section 3.1). u = z.

    The released cVAE has no offsets.
    """

    title: ClassVar[str] = "cVAE (convolutional latent)"
    ordered: ClassVar[bool] = False

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.steps = config.steps
        self.shape = self.transformed_shape = (config.latent_channels, SIDE, SIDE)
        self.mean = mean_path(config, offset=not config.release)
        self.log_variance = nn.Conv2d(8 * config.width, config.latent_channels, 3, padding=1)
        self.project: nn.Module = projection(config, offset=not config.release)

    def posterior(self, h: Float[Tensor, "b k 4 4"]) -> DiagonalGaussian:
        return DiagonalGaussian(self.mean(h).float(), self.log_variance(h).float(), self.steps)

    def transform(self, z: Float[Tensor, "b z 4 4"]) -> Float[Tensor, "b z 4 4"]:
        return z

    def decoding(self) -> list[nn.Module]:
        return [self.project]


class RecurrentLatent(Construction):
    """Channel recurrence on the variance path and before the decoder: `b (8b) 4 4 -> b z 4 4` (section 3.2)."""

    title: ClassVar[str] = "crVAE (channel-recurrent latent)"
    ordered: ClassVar[bool] = True

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.steps = config.steps
        self.shape = self.transformed_shape = (config.latent_channels, SIDE, SIDE)
        digits = config.release and config.size == 28
        options = {
            "spatial": (SIDE, SIDE),
            "steps": config.steps,
            "hidden": 16 * config.width,
            "residual": config.residual,
            "mixing": config.mixing,
            "permute": config.permute,
        }
        self.mean = flat_mean_path(config) if digits else mean_path(config, offset=True)
        self.log_variance = ChannelRecurrence(8 * config.width, config.latent_channels, norm=not digits, **options)
        if config.release and self.log_variance.norm is not None:
            nn.init.uniform_(self.log_variance.norm.weight)  # Torch7's own, which the release leaves here
        self.transform: nn.Module = ChannelRecurrence(config.latent_channels, **options)
        self.project: nn.Module = projection(config, offset=True)

    def posterior(self, h: Float[Tensor, "b k 4 4"]) -> DiagonalGaussian:
        return DiagonalGaussian(self.mean(h).float(), self.log_variance(h).float(), self.steps)

    def decoding(self) -> list[nn.Module]:
        return [self.transform, self.project]

    def groups(self, train: TrainConfig) -> list[RatedGroup]:
        recurrences = [*self.log_variance.parameters(), *self.transform.parameters()]
        return [RatedGroup("recurrence", recurrences, train.recurrence_rate, train.recurrence_clip)]


def mean_path(config: ModelConfig, *, offset: bool) -> nn.Module:
    """`b (8b) 4 4 -> b z 4 4`: the same in cVAE and crVAE (section 3.2)."""
    convolution = nn.Conv2d(8 * config.width, config.latent_channels, 3, padding=1)
    return nn.Sequential(convolution, Offset(config.latent_channels, SIDE, SIDE)) if offset else convolution


def flat_mean_path(config: ModelConfig) -> nn.Module:
    """The released 28x28 crVAE's fully connected mean path (specification 5.25)."""
    shape = (config.latent_channels, SIDE, SIDE)
    values = config.latent_channels * SIDE * SIDE
    return nn.Sequential(
        nn.Flatten(), nn.Linear(8 * config.width * SIDE * SIDE, values), nn.Unflatten(1, shape), Offset(*shape)
    )


def projection(config: ModelConfig, *, offset: bool) -> nn.Module:
    """u `b z 4 4` to the decoder's `b (8b) 4 4`: convolution and batch norm, no activation."""
    layers = [Offset(config.latent_channels, SIDE, SIDE)] if offset else []
    return nn.Sequential(
        *layers,
        nn.Conv2d(config.latent_channels, 8 * config.width, 3, padding=1),
        nn.BatchNorm2d(8 * config.width, eps=config.batch_norm_eps, momentum=config.batch_norm_momentum),
    )


CONSTRUCTIONS: dict[str, Callable[[ModelConfig], Construction]] = {
    "dense": DenseLatent,
    "convolutional": ConvolutionalLatent,
    "recurrent": RecurrentLatent,
}
"""By the name that `--model.latent` takes."""


def construct(config: ModelConfig) -> Construction:
    """The construction that `config.latent` names. Raises UserError if there is none of that name."""
    if config.latent not in CONSTRUCTIONS:
        meant = near(config.latent, CONSTRUCTIONS)
        raise UserError(f"--model.latent must be one of {', '.join(CONSTRUCTIONS)}, got {config.latent!r}{meant}")
    return CONSTRUCTIONS[config.latent](config)
