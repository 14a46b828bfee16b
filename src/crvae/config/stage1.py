"""What a Stage1 run is: one class per concern, the unit of every field in its description."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, field_validator, model_validator

from crvae.config.base import FORMAT, Frozen, numbers
from crvae.config.prior import PriorConfig
from crvae.config.schedule import ScheduleConfig

PAPER_SIZES = (28, 32, 64, 128, 256)
"""Sizes that the paper's trunk is defined for: its own 64 pixels, the release's digits, and what stride 2 makes of them."""


class ModelConfig(Frozen):
    """The autoencoder: trunk, latent construction, decoder (section 3.2)."""

    latent: str = Field(default="recurrent", pattern=r"^[a-z0-9-]{1,40}$")
    """Latent construction: `dense` (VAE), `convolutional` (cVAE) or `recurrent` (crVAE)."""
    trunk: Literal["paper", "patch"] = "paper"
    """Encoder and decoder around the bottleneck: the paper's, or the patchified residual one, which is several times as fast."""
    size: int = Field(default=64, ge=28, le=256)
    """Height and width of the images, in pixels; the paper's trunk takes 28, 32, 64, 128 and 256."""
    channels: Literal[1, 3] = 3
    """1 for grey, 3 for colour."""
    width: int = Field(default=32, ge=1, le=512)
    """Base width b, in channels: the trunk ends in 8b channels, the LSTM has 16b units."""
    latent_channels: int = Field(default=64, ge=1, le=4096)
    """Channels of the 4x4 latent z (a dense latent has 16 times as many values)."""
    steps: int = Field(default=8, ge=1, le=4096)
    """Time steps T of the channel recurrence; must divide the latent's and the trunk's channels."""
    residual: bool = False
    """Add the recurrence's input to its output: u = z + LSTM(z), and the like on the variance path. The paper has no such path."""
    mixing: Literal["lstm", "perceptron"] = "lstm"
    """What transforms the blocks: the paper's LSTM, or (control) a perceptron that sees each block alone."""
    upsampling: Literal["transposed", "smooth"] = "transposed"
    """Decoder doubles by the paper's transposed convolutions, or by repetition and 3x3 convolutions, which draw no grid."""
    permute: bool = False
    """Control: deal the latent channels to the blocks in a fixed random order."""
    likelihood: Literal["gaussian", "bernoulli"] = "gaussian"
    """Decoder's distribution: squared error on [-1, 1], or Bernoulli on [0, 1]."""
    batch_norm_eps: float = Field(default=1e-6, gt=0, le=0.1)
    """Added to the variance in batch normalisation."""
    batch_norm_momentum: float = Field(default=0.1, gt=0, le=1)
    """Share of the newest batch in batch normalisation's running statistics."""
    release: bool = False
    """Follow the authors' release where it departs from the paper's text (specification, sections 3.7 and 6)."""

    @model_validator(mode="after")
    def _trunk_fits(self) -> ModelConfig:
        if self.trunk == "paper" and self.size not in PAPER_SIZES:
            sizes = ", ".join(map(str, PAPER_SIZES))
            raise ValueError(
                f"--model.size must be one of {sizes} for the paper's trunk (or set --model.trunk patch), got {self.size}"
            )
        if self.trunk == "patch" and (self.release or self.upsampling != "transposed"):
            raise ValueError(
                "--model.release and --model.upsampling change the paper's trunk: leave them out with --model.trunk patch"
            )
        return self

    @model_validator(mode="after")
    def _steps_divide(self) -> ModelConfig:
        for name, channels in (
            ("--model.latent-channels", self.latent_channels),
            ("--model.width * 8", 8 * self.width),
        ):
            if channels % self.steps:
                raise ValueError(f"--model.steps must divide {name} ({channels}), got {self.steps}")
        return self


class DiscriminatorConfig(Frozen):
    """The discriminator: shared features, adversarial head, latent head (sections 3.3.1 and 3.3.3)."""

    kind: str = Field(default="paper", max_length=64)
    """Which discriminator: the paper's, or `projected`, small heads over a frozen network's features (Sauer et al. 2021)."""
    network: str = "squeezenet"
    """Frozen network of the projected discriminator: squeezenet, vgg16 or vgg19."""
    projections: int = Field(default=64, ge=1, le=1024)
    """Random mixtures of the frozen network's channels that each of the projected discriminator's heads sees."""
    augment: bool = False
    """Move and recolour at random what the discriminator sees, real images and others alike (Zhao et al. 2020)."""
    narrow: bool = False
    """Use the release baseline's widths b, 2b, 4b, 8b instead of 2b, 4b, 8b, 8b, and warm all of it up."""
    pooling: Literal["max", "average"] = "max"
    """Halve by the release's max pooling and ReLU, or by leaky ReLU and average pooling, whose gradients reach every pixel."""
    dropout: float = Field(default=0.5, ge=0, lt=1)
    """Share of channels dropped behind every convolution, not rescaled in training."""
    kernels: int = Field(default=100, ge=0, le=1024)
    """Kernels of minibatch discrimination; 0 leaves it out."""
    kernel_size: int = Field(default=5, ge=1, le=64)
    """Dimensions of each kernel of minibatch discrimination."""
    group: int = Field(default=16, ge=0, le=4096)
    """Images of one kind that minibatch discrimination compares; 0 compares the whole batch."""
    mixed_batch: bool = False
    """Discriminate one batch of half real, a quarter reconstructed and a quarter sampled images, as the release does."""


class ObjectiveConfig(Frozen):
    """Weights of the loss terms: the squared (or Bernoulli) error is a mean over all values, KL is nats an image."""

    kl_early: float = Field(default=3e-4, ge=0)
    """Weight of the KL divergence, per nat and image, in the first ceil(3T/8) time steps (equation 1)."""
    kl_late: float = Field(default=2e-4, ge=0)
    """Weight of the KL divergence, per nat and image, in the other time steps."""
    kl_weights: str = ""
    """T weights separated by commas, in place of the two levels."""
    perceptual: float = Field(default=0.0, ge=0)
    """Weight of the perceptual loss on reconstructions, a share of the features' energy; 0 leaves it out."""
    perceptual_network: str = "vgg16"
    """Network of the perceptual loss: vgg16, vgg19, squeezenet, or timm: and the name of a timm backbone."""
    nested: float = Field(default=0.0, ge=0, le=1)
    """Probability that an image is decoded from its first t blocks alone, t drawn from 1 to T - 1, with N(0, I)'s mean, 0, for the
    others: it teaches the decoder to show any prefix. 0 decodes all images from all blocks, as the paper does."""
    adversarial: float = Field(default=0.0125, ge=0)
    """Weight beta of the adversarial terms (section 3.3.1); 0 trains without a discriminator."""
    adversarial_after_images: int = Field(default=0, ge=0)
    """Train the autoencoder alone for this many images, then add the discriminator and the losses that need it."""
    adversarial_loss: Literal["softplus", "hinge"] = "softplus"
    """Adversarial terms: the paper's logarithms of probabilities (softplus of logits), or the hinge."""
    adversarial_on: Literal["both", "reconstructions"] = "both"
    """Images that the discriminator sees beside real ones: reconstructions and samples from N(0, I), as the paper has it, or
    reconstructions alone, where samples come from a learned prior."""
    encoder_adversarial: bool = True
    """Let the gradients that come through the discriminator reach the encoder, as the paper writes it."""
    margin: float = Field(default=0.0, ge=0, lt=1)
    """Pause the discriminator while its error rate is below this share; 0 never pauses it."""
    mutual_information: float = Field(default=0.0, ge=0)
    """Weight kappa of mutual-information regularisation (equation 2); 0 leaves it and the latent head out."""
    mutual_information_on: Literal["u", "z"] = "u"
    """Latent that is recovered from the image: transformed (u) or not (z)."""
    mutual_information_normalise: bool = False
    """Normalise the recovered latent by the batch's statistics, so that its scale does not hide what is recovered."""
    mutual_information_weights: str = ""
    """T weights separated by commas, one for each block; all 1 where empty."""
    mutual_information_head: float = Field(default=1.0, ge=0)
    """Weight of the same error for the latent head and its features."""

    @field_validator("kl_weights", "mutual_information_weights")
    @classmethod
    def _numbers(cls, text: str) -> str:
        numbers(text)
        return text

    def kl_per_step(self, steps: int) -> tuple[float, ...]:
        """Weight of the KL divergence of each of `steps` time steps (equation 1)."""
        early = math.ceil(3 * steps / 8)
        return numbers(self.kl_weights) or (self.kl_early,) * early + (self.kl_late,) * (steps - early)

    def mutual_information_per_step(self, steps: int) -> tuple[float, ...]:
        """Weight of each block in the mutual-information term."""
        return numbers(self.mutual_information_weights) or (1.0,) * steps


class InputConfig(Frozen):
    """What is done to the stored images on their way into training."""

    flip: bool = False
    """Flip each image left to right with probability 0.5."""
    binarise: bool = False
    """Draw each pixel anew from a Bernoulli with its brightness as the probability, at every visit."""


class TrainConfig(ScheduleConfig):
    """How long, how fast, how often."""

    rate: float = Field(default=3e-4, gt=0)
    """Adam's learning rate of the trunk, the mean path and the decoder."""
    recurrence_rate: float = Field(default=1.0, gt=0)
    """The recurrences' learning rate, as a multiple of `rate` (the release: 1/T)."""
    discriminator_rate: float = Field(default=0.5, gt=0)
    """Learning rate of the discriminator's features, as a multiple of `rate`."""
    adversarial_head_rate: float = Field(default=1.0, gt=0)
    """Learning rate of the adversarial head, as a multiple of `rate`."""
    latent_head_rate: float = Field(default=1.0, gt=0)
    """Learning rate of the latent head, as a multiple of `rate`."""
    warm_up: bool = False
    """Start the adversarial head at 1/50 of its rate for 10 steps and at 1/5 for 20 more, as the release does."""
    recurrence_clip: float = Field(default=5.0, ge=0)
    """Limit on each value of the recurrences' gradients; 0 for none."""


class Stage1Config(Frozen):
    """A complete Stage1 run."""

    format: Literal[1] = FORMAT
    stage: Literal[1] = 1
    recipe: str
    model: ModelConfig = ModelConfig()
    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    input: InputConfig = InputConfig()
    train: TrainConfig = TrainConfig()
    prior: PriorConfig = PriorConfig()

    @model_validator(mode="after")
    def _fits(self) -> Stage1Config:
        for name in ("kl_weights", "mutual_information_weights"):
            weights = numbers(getattr(self.objective, name))
            if weights and len(weights) != self.model.steps:
                option = f"objective.{name.replace('_', '-')}"
                raise ValueError(
                    f"--{option} must have {self.model.steps} values, one for each time step, got {len(weights)}"
                )
        if self.objective.nested and self.model.steps == 1:
            raise ValueError("--objective.nested needs blocks to leave out: set --model.steps above 1")
        if self.objective.mutual_information and not self.objective.adversarial:
            raise ValueError(
                "--objective.mutual-information needs the discriminator's features: set --objective.adversarial above 0"
            )
        if self.discriminator.mixed_batch and self.objective.adversarial_on != "both":
            raise ValueError(
                "--discriminator.mixed-batch needs samples, and --objective.adversarial-on reconstructions has none: leave one of them out"
            )
        if self.input.binarise and self.model.likelihood != "bernoulli":
            raise ValueError("--input.binarise needs --model.likelihood bernoulli")
        if self.objective.adversarial and self.model.likelihood != "gaussian":
            raise ValueError(
                "--objective.adversarial needs --model.likelihood gaussian: a discriminator sees images, not probabilities"
            )
        if self.objective.perceptual and self.model.likelihood != "gaussian":
            raise ValueError(
                "--objective.perceptual needs --model.likelihood gaussian: its network sees images, not probabilities"
            )
        if problem := self.undivided(self.train.accumulate):
            raise ValueError(problem)
        return self

    def undivided(self, parts: int) -> str:
        """Why a batch cannot be trained in so many parts (devices times `accumulate`), or nothing where it can.

        Each part must hold whole groups: minibatch discrimination would else compare images of different kinds.
        """
        batch, option, several = self.train.batch, self.discriminator, f"{parts} * " if parts > 1 else ""
        if batch % parts:
            return f"--train.batch must be a multiple of devices times --train.accumulate ({parts}), got {batch}"
        if not self.objective.adversarial:
            return ""
        if option.mixed_batch and batch % (4 * parts):
            return f"--train.batch must be a multiple of {several}4 for a mixed batch, got {batch}"
        compares = option.kind == "paper" and option.kernels and option.group and not option.mixed_batch
        if compares and batch % (option.group * parts):
            return f"--train.batch must be a multiple of {several}--discriminator.group ({option.group}), got {batch}"
        return ""
