"""What one Stage2 step optimises (section 4.3): the upsampler first, then the discriminator on the same images.

Stage1 is frozen; its reconstructions and samples are made on the fly, and both are fakes once they are upsampled.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from crvae import objectives
from crvae.config.stage2 import Stage2Config, Stage2TrainConfig
from crvae.data import PreparedData
from crvae.models.autoencoder import Autoencoder
from crvae.models.upsampler import Stage2Discriminator, Upsampler
from crvae.pictures import from_8_bit
from crvae.storage.models import save_upsampler
from crvae.training.adoption import adopted
from crvae.training.adversary import Adversary
from crvae.training.averaging import average_of, recalibrating
from crvae.training.images import calibration, stream
from crvae.training.perceptual import SHIFT, Perceptual, perceptual
from crvae.training.stage import SNAPSHOT, Carry, Group, Part, Side, Stored, Terms

CALIBRATION_IMAGES = 512
"""Training images whose batch statistics the published weights get: each has hundreds of positions in every map."""


@torch.no_grad()
def small_fakes(
    stage1: Autoencoder, small: Float[Tensor, "b c h w"], generator: torch.Generator | None = None
) -> Float[Tensor, "b2 c h w"]:
    """Stage1's reconstructions (from the posterior) and as many samples (from the prior), in one batch."""
    z = stage1.encode(small).sample(generator)
    return stage1.decode(torch.cat([z, stage1.prior.draw_like(z, generator)]))


def moved(images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """All images by the same draw, down and right; what leaves comes in on the other side."""
    down, right = torch.randint(SHIFT, (2, 1), device=images.device)
    (*_, height, width), device = images.shape, images.device
    rows = (torch.arange(height, device=device) - down) % height
    columns = (torch.arange(width, device=device) - right) % width
    return images.index_select(2, rows).index_select(3, columns)


def adversary(config: Stage2Config, discriminator: Stage2Discriminator) -> Adversary:
    """The adversarial side of section 4.3 around its discriminator."""
    return Adversary(discriminator, {"discriminator": config.train.discriminator_rate}, augment=moved)


class UpsamplerStep(nn.Module):
    """What the upsampler minimises: to pass for real, near the originals, and true to Stage1.

    forward(small, large) -> (loss, named terms, (large, fakes)): the same images at Stage1's size and at the upsampler's. The
    adversary and the perceptual network are not its children: gradients pass through them and stop at the images.
    """

    def __init__(self, config: Stage2Config, model: Upsampler, adversary: Adversary, perceptual: Perceptual | None):
        super().__init__()
        self.model = model
        self._adversary = (adversary,)  # in a tuple: not registered, so neither trained nor wrapped with this side
        self._perceptual = perceptual
        self._objective = config.objective

    def forward(
        self, small: Float[Tensor, "b c h w"], large: Float[Tensor, "b c h2 w2"]
    ) -> tuple[Tensor, Terms, Carry]:
        sources = small_fakes(self.model.stage1, small)
        images = self.model.network(sources).float()
        reconstructions, samples = images.chunk(2)
        enlarged = F.interpolate(sources[len(large) :], size=large.shape[-2:], mode="bilinear")
        judgement = self._adversary[0].judge(images)
        terms = {
            "reconstruction": objectives.gaussian_error(reconstructions, large),
            "sample": objectives.gaussian_error(samples, enlarged),
            "consistency": objectives.gaussian_error(F.adaptive_avg_pool2d(images, small.shape[-1]), sources),
            **judgement.terms,
        }
        weights = self._objective
        adversarial = terms["adversarial_reconstruction"] + terms["adversarial_sample"]
        loss = weights.adversarial * adversarial + weights.pixel * terms["reconstruction"]
        loss = loss + weights.sample_pixel * terms["sample"] + weights.consistency * terms["consistency"]
        if self._perceptual is not None:
            terms["perceptual"] = self._perceptual(reconstructions, large)
            loss = loss + weights.perceptual * terms["perceptual"]
        return loss, terms, (large, judgement.fakes)


class Stage2:
    """A Stage2 stage for the training loop (`crvae.training.stage.Stage`)."""

    averaged_network = "model"
    part = Part()

    def __init__(self, config: Stage2Config, stage1: str | Path):
        """`stage1`: the run or folder that holds the Stage1 model. Raises UserError if it is not the configuration's."""
        self.config, objective = config, config.objective
        self.model = Upsampler(config.model, adopted(config, stage1))
        discriminator = Stage2Discriminator(config.discriminator, config.model.output_size, config.model.channels)
        self.adversary = adversary(config, discriminator)
        self.averaged = average_of(self.model)
        self.networks: dict[str, nn.Module] = {"model": self.model, "discriminator": discriminator}
        frozen = perceptual(objective.perceptual, objective.perceptual_network)
        step = UpsamplerStep(config, self.model, self.adversary, frozen)
        trained = Group("upsampler", list(self.model.network.parameters()), 1.0)
        self.sides = [Side("upsampler", step, [trained]), self.adversary.side()]

    @property
    def schedule(self) -> Stage2TrainConfig:
        return self.config.train

    @property
    def _sizes(self) -> tuple[int, int]:
        return (self.config.model.size, self.config.model.output_size)

    def batches(self, data: PreparedData, start: int, rank: int, world: int) -> Iterator[Stored]:
        return stream(data, self.config, self._sizes, start, rank, world)

    def begin(self, images: int) -> None:
        self.adversary.begin(images)

    def inputs(self, stored: Stored) -> tuple[Tensor, Tensor]:
        small, large = stored
        return from_8_bit(small), from_8_bit(large)

    def publish(self, folder: Path, images: int, data: PreparedData) -> None:
        generator = torch.Generator(self.averaged.device).manual_seed(self.config.train.seed)
        with torch.no_grad(), recalibrating(self.averaged.network):
            batch, sizes = self.config.train.batch, self._sizes
            for stored in calibration(data, batch, sizes, self.averaged.device, CALIBRATION_IMAGES):
                small, _ = self.inputs(stored)
                self.averaged.network(small_fakes(self.averaged.stage1, small, generator))
        save_upsampler(folder, self.averaged, recipe=self.config.recipe, images=images)

    def snapshot(self) -> Tensor:
        return self.averaged.sample(SNAPSHOT, seed=self.config.train.seed)
