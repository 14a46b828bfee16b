"""What a Stage2 run is: the network on top of Stage1's outputs (section 4.3)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from crvae.config.base import FORMAT, Frozen
from crvae.config.schedule import ScheduleConfig


class UpsamplerConfig(Frozen):
    """The network that upsamples: after StackGAN's Stage-II, without its text (specification, section 10)."""

    size: int = Field(default=64, ge=28, le=256)
    """Height and width of Stage1's images, in pixels."""
    channels: Literal[1, 3] = 3
    """1 for grey, 3 for colour, as Stage1 has it."""
    output_size: int = Field(default=128, ge=29, le=1024)
    """Height and width of the upsampled images, in pixels; any number above `size`."""
    width: int = Field(default=128, ge=4, le=512)
    """Base width, in channels: four times as many at the bottleneck. StackGAN: 128."""
    blocks: int = Field(default=2, ge=0, le=16)
    """Residual blocks at the bottleneck. StackGAN: 2 for 128 pixels, 4 for 256."""
    residual: bool = False
    """Add the bilinearly enlarged input to the output, so that only what it lacks is learned. StackGAN has no such path."""
    batch_norm_eps: float = Field(default=1e-5, gt=0, le=0.1)
    """Added to the variance in batch normalisation."""
    batch_norm_momentum: float = Field(default=0.1, gt=0, le=1)
    """Share of the newest batch in batch normalisation's running statistics."""

    @model_validator(mode="after")
    def _enlarges(self) -> UpsamplerConfig:
        if self.output_size <= self.size:
            raise ValueError(f"--model.output-size must be above --model.size ({self.size}), got {self.output_size}")
        return self


class Stage2DiscriminatorConfig(Frozen):
    """The discriminator of large images: StackGAN's, without its text."""

    width: int = Field(default=64, ge=4, le=512)
    """Base width, in channels: doubled with every halving of the image. StackGAN: 64."""


class Stage2ObjectiveConfig(Frozen):
    """Weights of the loss terms."""

    adversarial: float = Field(default=1.0, gt=0)
    """Weight of the adversarial terms, on reconstructions and on samples."""
    perceptual: float = Field(default=0.0, ge=0)
    """Weight of the perceptual loss on reconstructions, a share of the features' energy; 0 leaves it out."""
    perceptual_network: str = "vgg16"
    """Network of the perceptual loss: vgg16, vgg19, squeezenet, or timm: and the name of a timm backbone."""
    pixel: float = Field(default=0.0, ge=0)
    """Weight of the mean squared error of reconstructions, images in [-1, 1]."""
    sample_pixel: float = Field(default=0.0, ge=0)
    """Weight of the mean squared error of samples, which have no original, from their own bilinear enlargement."""
    consistency: float = Field(default=0.0, ge=0)
    """Weight of the squared difference between an upsampled image, reduced to Stage1's size, and Stage1's image."""


class Stage2InputConfig(Frozen):
    """What is done to the stored images on their way into training."""

    flip: bool = False
    """Flip each image left to right with probability 0.5."""


class Stage2TrainConfig(ScheduleConfig):
    """How long, how fast, how often."""

    batch: int = Field(default=64, ge=2)
    """Images of one optimiser step, over all devices."""
    rate: float = Field(default=2e-4, gt=0)
    """Adam's learning rate of the upsampler."""
    beta1: float = Field(default=0.5, ge=0, lt=1)
    """Adam's first decay rate."""
    discriminator_rate: float = Field(default=1.0, gt=0)
    """Learning rate of the discriminator, as a multiple of `rate`."""


class Stage2Config(Frozen):
    """A complete Stage2 run."""

    format: Literal[1] = FORMAT
    stage: Literal[2] = 2
    recipe: str
    stage1: str = ""
    """SHA-256 of the Stage1 model that the run carries along; filled in when it begins."""
    model: UpsamplerConfig = UpsamplerConfig()
    discriminator: Stage2DiscriminatorConfig = Stage2DiscriminatorConfig()
    objective: Stage2ObjectiveConfig = Stage2ObjectiveConfig()
    input: Stage2InputConfig = Stage2InputConfig()
    train: Stage2TrainConfig = Stage2TrainConfig()
