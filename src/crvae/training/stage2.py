"""What one Stage2 step optimises (section 4.3): the upsampler first, then the discriminator on the same images.

Stage1 is frozen; its reconstructions and samples are made on the fly, and both are fakes once they are upsampled.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from crvae import objectives
from crvae.config.stage2 import Stage2Config
from crvae.errors import UserError
from crvae.frozen.pyramids import FeaturePyramid, feature_pyramid
from crvae.models.autoencoder import Autoencoder
from crvae.models.upsampler import Stage2Discriminator, Upsampler
from crvae.pictures import from_8_bit
from crvae.storage.hub import FILES
from crvae.storage.models import load, model_folder, save_upsampler
from crvae.training.averaging import average_of, recalibrating
from crvae.training.ranks import mean_over_ranks
from crvae.training.stage import Group, Side

Terms = dict[str, Tensor]

SNAPSHOT = 64
"""Images in a snapshot grid."""

CALIBRATION_IMAGES = 512
"""Training images whose batch statistics the published weights get: each has hundreds of positions in every map."""


SHIFT = 8
"""The frozen networks see images moved by 0..7 pixels each way: their strides would else print their grid into what they judge."""


class Fakes(NamedTuple):
    """What the upsampler made, for the discriminator: images in [-1, 1], detached."""

    reconstructions: Float[Tensor, "b c h w"]
    samples: Float[Tensor, "b c h w"]


@torch.no_grad()
def small_fakes(
    stage1: Autoencoder, small: Float[Tensor, "b c h w"], generator: torch.Generator | None = None
) -> Float[Tensor, "b2 c h w"]:
    """Stage1's reconstructions (from the posterior) and as many samples (from the prior), in one batch."""
    z = stage1.encode(small).sample(generator)
    return stage1.decode(torch.cat([z, stage1.prior.draw_like(z, generator)]))


def _moved(images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """All images by the same draw, down and right; what leaves comes in on the other side."""
    return images.roll(torch.randint(SHIFT, (2,)).tolist(), (2, 3))


def _enlarged(images: Float[Tensor, "b c h w"], size: int) -> Float[Tensor, "b c h2 w2"]:
    """Small images by bilinear interpolation: what the upsampler starts from with its residual path."""
    return F.interpolate(images, size=(size, size), mode="bilinear")


class UpsamplerStep(nn.Module):
    """What the upsampler minimises: to pass for real, near the originals, and true to Stage1.

    forward(small, large) -> (loss, named terms, fakes): the same images at Stage1's size and at the upsampler's. The
    discriminator and the perceptual network are frozen and no children: gradients pass through them and stop at the images.
    """

    def __init__(
        self, config: Stage2Config, model: Upsampler, discriminator: Stage2Discriminator, pyramid: FeaturePyramid | None
    ):
        super().__init__()
        self.model = model
        self._frozen = (
            discriminator,
            pyramid,
        )  # in a tuple: not registered, so neither trained nor wrapped with this side
        self._objective = config.objective

    def forward(
        self, small: Float[Tensor, "b c h w"], large: Float[Tensor, "b c h2 w2"]
    ) -> tuple[Tensor, Terms, Fakes]:
        discriminator, pyramid = self._frozen
        sources = small_fakes(self.model.stage1, small)
        images = self.model.network(sources).float()
        reconstructions, samples = images.chunk(2)

        frozen = {name: parameter.detach() for name, parameter in discriminator.named_parameters()}
        moved = _moved(images)
        terms = {
            "reconstruction": objectives.gaussian_error(reconstructions, large),
            "sample": objectives.gaussian_error(samples, _enlarged(sources[len(large) :], large.shape[-1])),
            "consistency": objectives.gaussian_error(F.adaptive_avg_pool2d(images, small.shape[-1]), sources),
            "adversarial_reconstruction": objectives.fool(
                functional_call(discriminator, frozen, (moved[: len(large)],))
            ),
            "adversarial_sample": objectives.fool(functional_call(discriminator, frozen, (moved[len(large) :],))),
        }
        weights = self._objective
        adversarial = terms["adversarial_reconstruction"] + terms["adversarial_sample"]
        loss = weights.adversarial * adversarial + weights.pixel * terms["reconstruction"]
        loss = loss + weights.sample_pixel * terms["sample"] + weights.consistency * terms["consistency"]
        if pyramid is not None:
            pyramid = pyramid.to(large.device)
            top, left = torch.randint(SHIFT, (2,)).tolist()
            height, width = (side - SHIFT + 1 for side in large.shape[-2:])
            window = (..., slice(top, top + height), slice(left, left + width))
            with torch.no_grad():
                targets = pyramid(large[window])
            terms["perceptual"] = objectives.perceptual(pyramid(reconstructions[window]), targets)
            loss = loss + weights.perceptual * terms["perceptual"]
        return loss, terms, Fakes(reconstructions.detach(), samples.detach())


class Stage2DiscriminatorStep(nn.Module):
    """What the discriminator minimises: to tell real images from upsampled reconstructions and samples, each at half weight.

    forward(small, large, fakes) -> (loss, named terms, None). Each kind passes alone, for the batch norm's sake.
    """

    def __init__(self, discriminator: Stage2Discriminator):
        super().__init__()
        self.discriminator = discriminator

    def forward(
        self, small: Float[Tensor, "b c h w"], large: Float[Tensor, "b c h2 w2"], fakes: Fakes
    ) -> tuple[Tensor, Terms, None]:
        moved = _moved(torch.cat([large, *fakes])).chunk(3)
        real, reconstruction, sample = (self.discriminator(images) for images in moved)
        loss = objectives.recognise_real(real) + 0.5 * (
            objectives.recognise_fake(reconstruction) + objectives.recognise_fake(sample)
        )
        wrong = 0.5 * (real < 0).float().mean() + 0.25 * (
            (reconstruction > 0).float().mean() + (sample > 0).float().mean()
        )
        return loss, {"discriminator": loss, "discriminator_error": mean_over_ranks(wrong.detach())}, None


class Stage2:
    """A Stage2 stage for the training loop (`crvae.training.stage.Stage`)."""

    averaged_network = "model"

    def __init__(self, config: Stage2Config, stage1: str | Path):
        """`stage1`: the run or folder that holds the Stage1 model. Raises UserError where it is not the configuration's."""
        self.config = config
        self.model = Upsampler(config.model, _stage1(config, stage1))
        self.discriminator = Stage2Discriminator(config.discriminator, config.model.output_size, config.model.channels)
        self.pyramid = feature_pyramid(config.objective.perceptual_network) if config.objective.perceptual else None
        self.averaged = average_of(self.model)
        self.networks: dict[str, nn.Module] = {"model": self.model, "discriminator": self.discriminator}
        trained, rate = list(self.model.network.parameters()), config.train.discriminator_rate
        self.sides = [
            Side(
                "upsampler",
                UpsamplerStep(config, self.model, self.discriminator, self.pyramid),
                [Group("upsampler", trained, 1.0)],
            ),
            Side(
                "discriminator",
                Stage2DiscriminatorStep(self.discriminator),
                [Group("discriminator", list(self.discriminator.parameters()), rate)],
            ),
        ]

    def sizes(self) -> tuple[int, ...]:
        return (self.config.model.size, self.config.model.output_size)

    def begin(self, images: int) -> None:
        """Nothing depends on the images seen."""

    def inputs(self, stored: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        small, large = stored
        return from_8_bit(small), from_8_bit(large)

    def publish(self, folder: Path, images: int, batches: Iterable[tuple[Tensor, ...]]) -> None:
        generator = torch.Generator(self.averaged.device).manual_seed(self.config.train.seed)
        with torch.no_grad(), recalibrating(self.averaged.network):
            seen = 0
            for batch in batches:
                small, _ = self.inputs(batch)
                self.averaged.network(small_fakes(self.averaged.stage1, small, generator))
                seen += len(small)
                if seen >= CALIBRATION_IMAGES:
                    break
        save_upsampler(folder, self.averaged, recipe=self.config.recipe, images=images)

    def snapshot(self) -> Tensor:
        return self.averaged.sample(SNAPSHOT, seed=self.config.train.seed)


def adopt(config: Stage2Config, stage1: str) -> Stage2Config:
    """The configuration with the hash of the Stage1 model that it will use. Raises UserError where there is none."""
    if not stage1:
        raise UserError(f"--stage1 is missing: crvae train {config.recipe} --stage1 RUN --data DATA --out RUN2")
    return config.model_copy(update={"stage1": fingerprint(stage1)})


def keep(config: Stage2Config, stage1: str, folder: Path) -> None:
    """Copies the Stage1 model into the run at `folder`, as `stage1/`. Raises UserError where it changed meanwhile."""
    target = folder / "stage1"
    target.mkdir()
    for file in model_folder(stage1).iterdir():
        if file.name in FILES:
            shutil.copyfile(file, target / file.name)
    if fingerprint(target) != config.stage1:
        raise UserError(f"--stage1 {stage1} changed while it was read: remove {folder} and begin again")


def fingerprint(stage1: str | Path) -> str:
    """Hex SHA-256 of a Stage1 model: its configuration, its weights and those of a learned prior."""
    folder = model_folder(stage1)
    digest = hashlib.sha256()
    try:
        names = ["config.json", "model.safetensors"]
        names += ["prior.safetensors"] * (folder / "prior.safetensors").exists()
        for name in names:
            with (folder / name).open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}") from None
    return digest.hexdigest()


def _stage1(config: Stage2Config, stage1: str | Path) -> Autoencoder:
    found = fingerprint(stage1)
    if found != config.stage1:
        raise UserError(f"{stage1} is not the Stage1 model that the run began with: put back the original folder")
    model = load(stage1)
    if not isinstance(model, Autoencoder):
        raise UserError(f"{stage1} is a Stage2 run: --stage1 takes a Stage1 run")
    wanted, (channels, size, _) = config.model, model.image_shape
    if (channels, size) != (wanted.channels, wanted.size):
        kinds = {1: "grey", 3: "colour"}
        raise UserError(
            f"{stage1} makes {kinds[channels]} images of {size} pixels, the recipe takes {kinds[wanted.channels]} ones of"
            f" {wanted.size}: set --model.size {size} --model.channels {channels}"
        )
    return model
