"""The three latent constructions behind one interface: dense (VAE), convolutional (cVAE), recurrent (crVAE); Figure 2.

Each has `posterior(h) -> DiagonalGaussian`, `transform(z) -> u` and `project(u) -> features for the decoder`.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from crvae.config.stage1 import ModelConfig
from crvae.models.gaussian import DiagonalGaussian
from crvae.models.layers import Offset
from crvae.models.recurrence import ChannelRecurrence

SIDE = 4
"""Height and width of the bottleneck, in positions."""


class DenseLatent(nn.Module):
    """Fully connected in and out of a latent vector: `b (8b) 4 4 -> b n`, n = 16 latent channels (section 3.1)."""

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


class ConvolutionalLatent(nn.Module):
    """Convolutions in and out of latent maps: `b (8b) 4 4 -> b z 4 4` (section 3.1). u = z."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.steps = config.steps
        self.shape = self.transformed_shape = (config.latent_channels, SIDE, SIDE)
        self.mean = mean_path(config)
        self.log_variance = nn.Conv2d(8 * config.width, config.latent_channels, 3, padding=1)
        self.project = projection(config, offset=not config.release)

    def posterior(self, h: Float[Tensor, "b k 4 4"]) -> DiagonalGaussian:
        return DiagonalGaussian(self.mean(h).float(), self.log_variance(h).float(), self.steps)

    def transform(self, z: Float[Tensor, "b z 4 4"]) -> Float[Tensor, "b z 4 4"]:
        return z


class RecurrentLatent(nn.Module):
    """Channel recurrence on the variance path and before the decoder: `b (8b) 4 4 -> b z 4 4` (section 3.2)."""

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
        self.mean = flat_mean_path(config) if digits else mean_path(config)
        self.log_variance = ChannelRecurrence(8 * config.width, config.latent_channels, norm=not digits, **options)
        self.transform = ChannelRecurrence(config.latent_channels, **options)
        self.project = projection(config, offset=True)

    def posterior(self, h: Float[Tensor, "b k 4 4"]) -> DiagonalGaussian:
        return DiagonalGaussian(self.mean(h).float(), self.log_variance(h).float(), self.steps)


def mean_path(config: ModelConfig) -> nn.Module:
    """`b (8b) 4 4 -> b z 4 4`: the same in cVAE and crVAE (section 3.2); the released cVAE has no offset."""
    convolution = nn.Conv2d(8 * config.width, config.latent_channels, 3, padding=1)
    if config.latent == "convolutional" and config.release:
        return convolution
    return nn.Sequential(convolution, Offset(config.latent_channels, SIDE, SIDE))


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


CONSTRUCTIONS = {"dense": DenseLatent, "convolutional": ConvolutionalLatent, "recurrent": RecurrentLatent}
