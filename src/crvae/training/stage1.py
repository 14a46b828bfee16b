"""What one Stage1 step optimises (section 3.3): the generating side first, then the discriminator on the same images.

Each side is one module whose single `forward` gives its whole objective, so that a data-parallel wrapper sees one
forward for each backward.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from crvae import objectives
from crvae.config.stage1 import Stage1Config
from crvae.errors import UserError
from crvae.models.autoencoder import Autoencoder
from crvae.models.discriminator import Discriminator
from crvae.pictures import from_8_bit
from crvae.storage.models import save
from crvae.training.averaging import average_of, recalibrate
from crvae.training.ranks import mean_over_ranks, world_size
from crvae.training.stage import Group, Side

Terms = dict[str, Tensor]

SNAPSHOT = 64
"""Images in a snapshot grid."""


class Fakes(NamedTuple):
    """What the generating side made, for the discriminator: images in [-1, 1], and the latent to recover; detached."""

    reconstructions: Float[Tensor, "b c h w"]
    samples: Float[Tensor, "b c h w"]
    latent: Float[Tensor, " b2 *d"]


def build(config: Stage1Config) -> tuple[Autoencoder, Discriminator | None]:
    """The networks of a run, initialised from torch's global generator."""
    model = Autoencoder(config.model)
    if not config.objective.adversarial:
        return model, None
    latent = None
    if config.objective.mutual_information:
        on_u = config.objective.mutual_information_on == "u"
        latent = model.latent.transformed_shape if on_u else model.latent_shape
    return model, Discriminator(config.discriminator, config.model, latent)


class GeneratorStep(nn.Module):
    """What encoder, latent construction and decoder minimise (section 3.3.1, equations 1 and 2).

    forward(x) -> (loss, named terms, fakes). The discriminator is frozen and not a child: gradients pass through it
    to the images and stop there.
    """

    def __init__(self, config: Stage1Config, model: Autoencoder, discriminator: Discriminator | None):
        super().__init__()
        self.model = model
        self._discriminator = [
            discriminator
        ]  # in a list: not registered, so neither trained nor wrapped with this side
        self._objective = config.objective
        self.alone = False
        """Leave out every term that needs the discriminator."""
        steps = config.model.steps
        self.register_buffer("kl_weights", torch.tensor(config.objective.kl_per_step(steps)), persistent=False)
        weights = config.objective.mutual_information_per_step(steps)
        self.register_buffer("mutual_information_weights", torch.tensor(weights), persistent=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> tuple[Tensor, Terms, Fakes | None]:
        posterior = self.model.encode(x)
        kl = self.model.prior.kl(posterior)
        deviation = torch.exp(0.5 * posterior.log_variance.detach()).mean()
        terms: Terms = {"kl": kl.sum(), "kl_per_step": kl, "posterior_deviation": deviation}
        loss = objectives.weighted_kl(kl, self.kl_weights)  # type: ignore[arg-type]
        discriminator = self._discriminator[0]
        if discriminator is None or self.alone:
            outputs = self.model.outputs(self.model.transform(posterior.sample())).float()
            bernoulli = self.model.config.likelihood == "bernoulli"
            error = objectives.bernoulli_error if bernoulli else objectives.gaussian_error
            terms["reconstruction"] = error(outputs, x)
            return loss + terms["reconstruction"], terms, None

        z = posterior.sample()
        z = torch.cat([z, self.model.prior.draw_like(z)])  # posterior, prior: decoded in one pass
        u = self.model.transform(z)
        images = self.model.outputs(u).float()
        terms["reconstruction"] = objectives.gaussian_error(images[: len(x)], x)
        if not self._objective.encoder_adversarial:
            z = z.detach()  # the same images again from a constant: batch statistics would carry gradients too
            u = self.model.transform(z)
            images = self.model.outputs(u).float()

        frozen = {name: parameter.detach() for name, parameter in discriminator.named_parameters()}
        realism, estimate = functional_call(discriminator, frozen, (images,))
        realism_reconstruction, realism_sample = realism.chunk(2)
        terms["adversarial_reconstruction"] = objectives.fool(realism_reconstruction)
        terms["adversarial_sample"] = objectives.fool(realism_sample)
        adversarial = terms["adversarial_reconstruction"] + terms["adversarial_sample"]
        loss = loss + terms["reconstruction"] + self._objective.adversarial * adversarial
        latent = (u if self._objective.mutual_information_on == "u" else z).detach()
        if estimate is not None:
            if self._objective.mutual_information_normalise:
                latent = objectives.normalised(latent)
            weights = self.mutual_information_weights
            terms["mutual_information"] = objectives.recover(estimate, latent, weights)  # type: ignore[arg-type]
            terms["mutual_information_explained"] = objectives.explained(estimate, latent)
            loss = loss + self._objective.mutual_information * terms["mutual_information"]
        reconstructions, samples = images.detach().chunk(2)
        return loss, terms, Fakes(reconstructions, samples, latent.float())


class DiscriminatorStep(nn.Module):
    """What features, adversarial head and latent head minimise (section 3.3.1, equation 2).

    forward(x, fakes) -> (loss, named terms, None). Under a margin the adversarial part rests while the error rate, over all
    ranks, is below it.
    """

    def __init__(self, config: Stage1Config, discriminator: Discriminator):
        super().__init__()
        self.discriminator = discriminator
        self._objective = config.objective
        self._mixed = config.discriminator.mixed_batch
        weights = config.objective.mutual_information_per_step(config.model.steps)
        self.register_buffer("mutual_information_weights", torch.tensor(weights), persistent=False)

    def forward(self, x: Float[Tensor, "b c h w"], fakes: Fakes) -> tuple[Tensor, Terms, None]:
        fake = torch.cat([fakes.reconstructions, fakes.samples])
        estimate = None
        if self._mixed:
            realism = self._mixed_realism(x, fakes)
            if self.discriminator.latent_head is not None:
                estimate = self.discriminator.latent_head(self.discriminator.features(fake))
        else:
            features = self.discriminator.features(torch.cat([x, fake]))
            realism = self.discriminator.adversarial_head(features).split([len(x), len(x), len(x)])
            if self.discriminator.latent_head is not None:
                estimate = self.discriminator.latent_head(features[len(x) :])
        real, reconstruction, sample = realism
        adversarial = objectives.recognise_real(real) + 0.5 * (
            objectives.recognise_fake(reconstruction) + objectives.recognise_fake(sample)
        )
        wrong = 0.5 * (real < 0).float().mean() + 0.25 * (
            (reconstruction > 0).float().mean() + (sample > 0).float().mean()
        )
        error = mean_over_ranks(wrong.detach())
        terms = {"discriminator": adversarial, "discriminator_error": error}
        loss = adversarial * (error >= self._objective.margin)
        if estimate is not None:
            weights = self.mutual_information_weights
            recovered = objectives.recover(estimate, fakes.latent, weights)  # type: ignore[arg-type]
            loss = loss + self._objective.mutual_information_head * recovered
        return loss, terms, None

    def _mixed_realism(self, x: Tensor, fakes: Fakes) -> tuple[Tensor, Tensor, Tensor]:
        """One batch in fixed places: of every four images two real, then a sample, then a reconstruction (spec. 4)."""
        place = torch.arange(len(x), device=x.device) % 4
        is_sample, is_reconstruction = (place == 2).view(-1, 1, 1, 1), (place == 3).view(-1, 1, 1, 1)
        mixed = torch.where(is_sample, fakes.samples, torch.where(is_reconstruction, fakes.reconstructions, x))
        realism = self.discriminator.adversarial_head(self.discriminator.features(mixed))
        return realism[place < 2], realism[place == 3], realism[place == 2]


class Stage1:
    """A Stage1 stage for the training loop (`crvae.training.stage.Stage`).

    Raises UserError where a batch does not fall into whole groups on these devices.
    """

    averaged_network = "model"

    def __init__(self, config: Stage1Config):
        if problem := config.undivided(world_size() * config.train.accumulate):
            raise UserError(problem)
        self.config = config
        self.model, self.discriminator = build(config)
        self.averaged = average_of(self.model)
        self.networks: dict[str, nn.Module] = {"model": self.model}
        self._generator = GeneratorStep(config, self.model, self.discriminator)
        self.sides = [Side("generator", self._generator, self._generator_groups())]
        if self.discriminator is not None:
            self.networks["discriminator"] = self.discriminator
            step = DiscriminatorStep(config, self.discriminator)
            groups, after = self._discriminator_groups(self.discriminator), config.objective.adversarial_after_images
            self.sides.append(Side("discriminator", step, groups, after))

    def _generator_groups(self) -> list[Group]:
        rated = self.model.latent.groups(self.config.train)
        ids = {id(parameter) for group in rated for parameter in group.parameters}
        rest = [parameter for parameter in self.model.parameters() if id(parameter) not in ids]
        return [Group("trunk", rest, 1.0), *(Group(*group) for group in rated)]

    def _discriminator_groups(self, discriminator: Discriminator) -> list[Group]:
        train = self.config.train
        head = list(discriminator.adversarial_head.parameters())
        groups = [
            Group("features", list(discriminator.features.parameters()), train.discriminator_rate),
            Group("adversarial_head", head, train.adversarial_head_rate, warm_up=train.warm_up),
        ]
        if discriminator.latent_head is not None:
            groups.append(Group("latent_head", list(discriminator.latent_head.parameters()), train.latent_head_rate))
        return groups

    def sizes(self) -> tuple[int, ...]:
        return (self.config.model.size,)

    def begin(self, images: int) -> None:
        self._generator.alone = images < self.config.objective.adversarial_after_images

    def inputs(self, stored: tuple[Tensor, ...]) -> tuple[Tensor]:
        x = from_8_bit(stored[0])
        if self.config.input.binarise:
            x = torch.bernoulli((x + 1) / 2) * 2 - 1
        return (x,)

    def publish(self, folder: Path, images: int, batches: Iterable[tuple[Tensor, ...]]) -> None:
        recalibrate(self.averaged, (self.inputs(batch)[0] for batch in batches), self.config.train.seed)
        save(folder, self.averaged, recipe=self.config.recipe, images=images, discriminator=self.discriminator)

    def snapshot(self) -> Tensor:
        return self.averaged.sample(SNAPSHOT, seed=self.config.train.seed)
