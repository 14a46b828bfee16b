"""What one Stage1 step optimises (section 3.3): the generating side first, then the adversary on the same images.

Each side is one module whose single `forward` gives its whole objective, so that a data-parallel wrapper sees one
forward for each backward.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crvae import objectives
from crvae.augmentation import augmented
from crvae.config.stage1 import Stage1Config, TrainConfig
from crvae.data import PreparedData
from crvae.errors import UserError
from crvae.models.autoencoder import Autoencoder
from crvae.models.discriminator import Discriminator
from crvae.models.discriminators import build_discriminator
from crvae.pictures import from_8_bit
from crvae.storage.models import save
from crvae.training.adversary import Adversary, Recovery, unmoved
from crvae.training.averaging import average_of, recalibrate
from crvae.training.images import calibration, stream
from crvae.training.nesting import prefixes
from crvae.training.perceptual import Perceptual, perceptual
from crvae.training.ranks import world_size
from crvae.training.stage import SNAPSHOT, Carry, Group, Part, Side, Stored, Terms

CALIBRATION_IMAGES = 2048
"""Training images whose batch statistics the published weights get."""


def build(config: Stage1Config) -> tuple[Autoencoder, Discriminator | None]:
    """The networks of a run, initialised from torch's global generator."""
    model = Autoencoder(config.model)
    if not config.objective.adversarial:
        return model, None
    latent = None
    if config.objective.mutual_information:
        on_u = config.objective.mutual_information_on == "u"
        latent = model.latent.transformed_shape if on_u else model.latent_shape
    return model, build_discriminator(config.discriminator, config.model, latent)


def adversary(config: Stage1Config, discriminator: Discriminator) -> Adversary:
    """The adversarial side of sections 3.3.1 and 3.3.3 around its discriminator."""
    objective, train = config.objective, config.train
    rates = {
        "features": train.discriminator_rate,
        "adversarial_head": train.adversarial_head_rate,
        "latent_head": train.latent_head_rate,
        "discriminator": train.discriminator_rate,
    }
    recovery = None
    if objective.mutual_information:
        weights = objective.mutual_information_per_step(config.model.steps)
        recovery = Recovery(weights, objective.mutual_information_normalise, objective.mutual_information_head)
    return Adversary(
        discriminator,
        rates,
        loss=objective.adversarial_loss,
        margin=objective.margin,
        after=objective.adversarial_after_images,
        warm_up=_warmed(config) if train.warm_up else (),
        mixed=config.discriminator.mixed_batch,
        recovery=recovery,
        augment=augmented if config.discriminator.augment else unmoved,
    )


def _warmed(config: Stage1Config) -> Sequence[str]:
    """The discriminator's groups whose rates warm up: the released baseline has one optimiser for all (specification 2.5)."""
    return ("features", "adversarial_head") if config.discriminator.narrow else ("adversarial_head",)


class GeneratorStep(nn.Module):
    """What encoder, latent construction and decoder minimise (section 3.3.1, equations 1 and 2).

    forward(x) -> (loss, named terms, (x, fakes)). The adversary and the perceptual network are not its children: gradients
    pass through them to the images and stop there.
    """

    def __init__(
        self,
        config: Stage1Config,
        model: Autoencoder,
        adversary: Adversary | None,
        perceptual: Perceptual | None = None,
    ):
        super().__init__()
        self.model = model
        self._perceptual = perceptual
        self._adversary = (adversary,)  # in a tuple: not registered, so neither trained nor wrapped with this side
        self._objective = config.objective
        weights = config.objective.kl_per_step(config.model.steps)
        self.register_buffer("kl_weights", torch.tensor(weights), persistent=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> tuple[Tensor, Terms, Carry]:
        posterior = self.model.encode(x)
        kl = self.model.prior.kl(posterior)
        deviation = torch.exp(0.5 * posterior.log_variance.detach()).mean()
        terms: Terms = {"kl": kl.sum(), "kl_per_step": kl, "posterior_deviation": deviation}
        loss = objectives.weighted_kl(kl, self.kl_weights)  # type: ignore[arg-type]
        z = prefixes(self.model, posterior.sample(), self._objective.nested)
        (adversary,) = self._adversary
        if adversary is None or adversary.waiting:
            terms |= self._likeness(self.model.outputs(self.model.transform(z)).float(), x)
            return self._weighted(loss, terms), terms, ()

        samples = self._objective.adversarial_on == "both"
        if samples:
            z = torch.cat([z, self.model.prior.draw_like(z)])  # posterior, prior: decoded in one pass
        u = self.model.transform(z)
        images = self.model.outputs(u).float()
        terms |= self._likeness(images[: len(x)], x)
        if not self._objective.encoder_adversarial:
            z = z.detach()  # the same images again from a constant: batch statistics would carry gradients too
            u = self.model.transform(z)
            images = self.model.outputs(u).float()
        latent = u if self._objective.mutual_information_on == "u" else z
        judgement = adversary.judge(images, latent, samples=samples)
        terms |= judgement.terms
        return self._weighted(loss, terms), terms, (x, judgement.fakes)

    def _likeness(self, outputs: Tensor, x: Tensor) -> Terms:
        """How far the reconstructions are from their originals: section 3.1's error, and the perceptual one."""
        bernoulli = self.model.config.likelihood == "bernoulli"
        error = objectives.bernoulli_error if bernoulli else objectives.gaussian_error
        terms = {"reconstruction": error(outputs, x)}
        if self._perceptual is not None:
            terms["perceptual"] = self._perceptual(outputs, x)
        return terms

    def _weighted(self, loss: Tensor, terms: Terms) -> Tensor:
        """The weighted KL divergence `loss`, and all other terms with their weights: beta, kappa and the perceptual one."""
        weights = self._objective
        loss = loss + terms["reconstruction"]
        adversarial = [term for name, term in terms.items() if name.startswith("adversarial_")]
        if adversarial:
            loss = loss + weights.adversarial * sum(adversarial)
        if "mutual_information" in terms:
            loss = loss + weights.mutual_information * terms["mutual_information"]
        if "perceptual" in terms:
            loss = loss + weights.perceptual * terms["perceptual"]
        return loss


class Stage1:
    """A Stage1 stage for the training loop (`crvae.training.stage.Stage`).

    Raises UserError if a batch does not fall into whole groups on these devices.
    """

    averaged_network = "model"

    def __init__(self, config: Stage1Config):
        if problem := config.undivided(world_size() * config.train.accumulate):
            raise UserError(problem)
        self.config = config
        self.model, discriminator = build(config)
        self.adversary = None if discriminator is None else adversary(config, discriminator)
        self.averaged = average_of(self.model)
        self.networks: dict[str, nn.Module] = {"model": self.model}
        frozen = perceptual(config.objective.perceptual, config.objective.perceptual_network)
        step = GeneratorStep(config, self.model, self.adversary, frozen)
        self.sides = [Side("generator", step, self._groups())]
        if self.adversary is not None:
            self.networks["discriminator"] = self.adversary.discriminator
            self.sides.append(self.adversary.side())

    def _groups(self) -> list[Group]:
        rated = self.model.latent.groups(self.config.train)
        ids = {id(parameter) for group in rated for parameter in group.parameters}
        rest = [parameter for parameter in self.model.parameters() if id(parameter) not in ids]
        return [Group("trunk", rest, 1.0), *(Group(*group) for group in rated)]

    @property
    def part(self) -> Part:
        return Part(later=self.config.prior.work)

    @property
    def schedule(self) -> TrainConfig:
        return self.config.train

    def batches(self, data: PreparedData, start: int, rank: int, world: int) -> Iterator[Stored]:
        return stream(data, self.config, (self.config.model.size,), start, rank, world)

    def begin(self, images: int) -> None:
        if self.adversary is not None:
            self.adversary.begin(images)

    def inputs(self, stored: Stored) -> tuple[Tensor]:
        x = from_8_bit(stored[0])
        if self.config.input.binarise:
            x = torch.bernoulli((x + 1) / 2) * 2 - 1
        return (x,)

    def publish(self, folder: Path, images: int, data: PreparedData) -> None:
        train, size = self.config.train, self.config.model.size
        batches = calibration(data, train.batch, (size,), self.averaged.device, CALIBRATION_IMAGES)
        x = (self.inputs(batch)[0] for batch in batches)
        objective = self.config.objective
        samples = self._judged(images) > 0 and objective.adversarial_on == "both"  # decoded in training
        recalibrate(self.averaged, x, train.seed, samples=samples, nested=objective.nested)
        discriminator = None
        if self.adversary is not None:
            discriminator = self.adversary.discriminator
            discriminator.seen = self._judged(images)
        save(folder, self.averaged, recipe=self.config.recipe, images=images, discriminator=discriminator)

    def _judged(self, images: int) -> int:
        """How many of the images seen the discriminator was trained on: none before its first batch, none without one."""
        if self.adversary is None:
            return 0
        batch = self.config.train.batch
        return max(0, images - -(-self.adversary.after // batch) * batch)

    def snapshot(self) -> Tensor:
        return self.averaged.sample(SNAPSHOT, seed=self.config.train.seed)
