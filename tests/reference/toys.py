"""One toy of each kind that CONTRIBUTING.md tells how to add: a source, a latent construction, a discriminator, a prior, a score."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from PIL import Image
from torch import Tensor, nn

from crvae.config.base import Frozen
from crvae.data import Item, Source
from crvae.data.images import Form
from crvae.evaluation.features import generated
from crvae.evaluation.registry import Measure
from crvae.evaluation.score import Score, made_by
from crvae.intervals import mean
from crvae.models import Discriminator
from crvae.models.gaussian import DiagonalGaussian, blocks, standard_log_prob
from crvae.models.latent import Construction, RatedGroup
from crvae.models.prior import LearnedPrior


@dataclass(frozen=True, kw_only=True)
class Tiles(Source):
    """Squares of one colour each."""

    tiles: int

    @property
    def count(self) -> int:
        return self.tiles

    @property
    def description(self) -> dict[str, object]:
        return {"kind": "tiles", "tiles": self.tiles}

    def items(self) -> Iterator[Item]:
        for i in range(self.tiles):
            yield Item(str(i), i, "validation" if i % 5 == 0 else "train", {"shade": i % 2})

    def open(self, item: Item) -> Image.Image:
        return Image.new("RGB", (9, 9), (int(str(item.at)), 0, 0))


def tiles(form: Form, *, how_many: Annotated[int | None, "how many tiles to lay"] = None) -> Tiles:
    """Opens the source: what `crvae.data.registry.source` decorates."""
    shades = {"shade": ("even", "odd")}
    return Tiles(name="tiles", form=form, columns=shades, notes=("laid by hand",), tiles=how_many or 10)


class PooledLatent(Construction):
    """One value a channel, kept at all positions. Its way out learns at half the rate."""

    title: ClassVar[str] = "toy (pooled latent)"
    ordered: ClassVar[bool] = True

    def __init__(self, config):
        super().__init__()
        self.steps = config.steps
        self.shape = (config.latent_channels,)
        self.transformed_shape = (8 * config.width, 4, 4)
        self.inwards = nn.Linear(8 * config.width, 2 * config.latent_channels)
        self.outwards = nn.Linear(config.latent_channels, 8 * config.width)

    def posterior(self, h):
        mean, log_variance = self.inwards(h.mean((2, 3))).float().chunk(2, 1)
        return DiagonalGaussian(mean, log_variance, self.steps)

    def transform(self, z):
        return self.outwards(z)[:, :, None, None].expand(-1, -1, 4, 4)

    def project(self, u):
        return u

    def decoding(self):
        return [self.outwards]

    def groups(self, train):
        return [RatedGroup("outwards", list(self.outwards.parameters()), 0.5, 0.0)]


class Patches(Discriminator):
    """A map of logits, over a frozen network that it only looks through; no latent head."""

    def __init__(self, config, model, latent_shape=None):
        super().__init__()
        self.config = config
        with torch.device("cpu"):  # also where all else is built without memory, to be filled from a file
            self._frozen = (nn.Conv2d(model.channels, 6, 4, 4).requires_grad_(False),)
        self.adversarial_head = nn.Conv2d(6, 1, 1)

    def forward(self, images: Tensor, real: int = 0) -> tuple[Tensor, None]:
        return self.adversarial_head(torch.relu(self._frozen[0](images)))[:, 0].float(), None

    def groups(self) -> dict[str, list[nn.Parameter]]:
        return {"adversarial_head": list(self.adversarial_head.parameters())}


class CentredConfig(Frozen):
    kind: str = "centred"
    begin: float = 2.0


class Centred(LearnedPrior):
    """A Gaussian of independent values, whose centre is learned."""

    configuration = CentredConfig
    title = "a toy"

    def __init__(self, config, shape, steps):
        super().__init__(config, shape, steps)
        self.centre = nn.Parameter(torch.full((steps, self.size), config.begin))

    @property
    def mean(self):
        return self.restored(self.centre[None])[0]

    def loss(self, z):
        return (self.standardised(z) - self.centre).square().mean()

    def generate(self, noise):
        return self.restored(blocks(noise, self.steps) + self.centre)

    def extend(self, z, t, noise):
        return self.joined(z, self.generate(noise), t)

    def replace(self, z, t, noise):
        return self.swapped(z, self.generate(noise), t)

    def log_prob(self, z):
        return standard_log_prob((self.standardised(z) - self.centre).flatten(1)) - self.scale.log().sum()

    def kl(self, posterior, per_image=False, generator=None):
        offset = self.standardised(posterior.mean) - self.centre
        variance = blocks(posterior.log_variance.exp(), self.steps) / self.scale**2
        kl = 0.5 * (offset**2 + variance - variance.log() - 1).sum(2)
        return kl if per_image else kl.mean(0)


GREY = Measure("neither", "of 255")


def brightness(evidence):
    """how bright the images are.

    More that the help leaves out.
    """
    values = evidence.once(generated).float().flatten(1).mean(1)
    about = {"images": len(values), "seed": evidence.request.seed, **made_by("crvae")}
    return {"brightness": Score(name="brightness", **GREY._asdict(), **mean(values), **about)}
