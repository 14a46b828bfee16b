"""What follows the autoencoder in a run whose recipe has a learned prior: p(z) is fitted to the posteriors of the training images.

The images pass through the finished encoder once. Their posteriors' means and log-variances are kept, and every visit draws z anew,
so the prior learns the aggregated posterior and not a list of points.
"""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from shlex import quote

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from crvae.binarisation import binarised
from crvae.config.prior import COST
from crvae.config.schedule import ScheduleConfig
from crvae.config.stage1 import Stage1Config
from crvae.config.stage2 import Stage2Config
from crvae.data import PreparedData
from crvae.data.indices import evenly
from crvae.devices import quick_arithmetic
from crvae.errors import UserError
from crvae.models.autoencoder import Autoencoder
from crvae.models.discriminator import Discriminator
from crvae.models.prior import LearnedPrior
from crvae.models.priors import build_prior, prior_config
from crvae.pictures import from_8_bit
from crvae.storage.models import has_discriminator, load, load_discriminator, save
from crvae.training import checkpoint
from crvae.training.averaging import average_of
from crvae.training.fabric import Fabric
from crvae.training.loop import Training
from crvae.training.run import Run
from crvae.training.stage import SNAPSHOT, Carry, Group, Part, Side, Stored, Terms

LIMIT = 1 << 27
"""Values of the means that are kept, with as many log-variances: half a gigabyte each. Of larger sets, evenly spaced images are used."""

ENCODED = 256
"""Images encoded at once."""

CHECKPOINTS = "prior"
"""The folder of the prior's checkpoints, in the run's."""


class PriorStep(nn.Module):
    """What a learned prior minimises: forward(means, log_variances) -> (loss, named terms, nothing)."""

    def __init__(self, prior: LearnedPrior):
        super().__init__()
        self.prior = prior

    def forward(
        self, means: Float[Tensor, " b *d"], log_variances: Float[Tensor, " b *d"]
    ) -> tuple[Tensor, Terms, Carry]:
        z = means + torch.exp(0.5 * log_variances) * torch.randn_like(means)
        loss = self.prior.loss(z)
        return loss, {"prior": loss}, ()


class PriorStage:
    """The prior's phase for the training loop (`crvae.training.stage.Stage`).

    model: the run's autoencoder with its averaged weights, on the device. Its discriminator is only carried along.
    """

    averaged_network = "prior"

    def __init__(self, config: Stage1Config, model: Autoencoder, discriminator: Discriminator | None):
        self.config, self.model, self.discriminator = config, model, discriminator
        prior = build_prior(prior_config(config.prior), model.latent_shape, config.model.steps)
        assert isinstance(prior, LearnedPrior)
        self.prior, self.averaged = prior, average_of(prior)
        self.networks: dict[str, nn.Module] = {"prior": prior}
        self.sides = [Side("prior", PriorStep(prior), [Group("prior", list(prior.parameters()), 1.0)])]

    @property
    def schedule(self) -> ScheduleConfig:
        return self.config.prior.schedule(self.config.train)

    @property
    def part(self) -> Part:
        before = self.config.train.seen
        return Part("fitting the prior", "latents", "prior", CHECKPOINTS, "prior.rate", before=before, cost=COST)

    def batches(self, data: PreparedData, start: int, rank: int, world: int) -> Iterator[Stored]:
        means, log_variances = self._posteriors(data)
        for prior in (self.prior, self.averaged):
            prior.fit_scale(means, log_variances, centred=not self.config.objective.nested)
        batch = self.schedule.batch
        own = slice(rank * batch // world, (rank + 1) * batch // world)
        order = shuffled(len(means), batch, self.config.train.seed, start)
        # not a generator itself: a run that was killed before it published needs the scale without asking for a batch
        return ((means[rows[own]], log_variances[rows[own]]) for rows in order)

    def begin(self, images: int) -> None:
        """Nothing depends on the latents seen."""

    def inputs(self, stored: Stored) -> Carry:
        return tuple(part.float() for part in stored)

    def publish(self, folder: Path, images: int, data: PreparedData) -> None:
        self.model.prior = self.averaged
        save(
            folder,
            self.model,
            recipe=self.config.recipe,
            images=self.part.before,
            discriminator=self.discriminator,
        )

    def snapshot(self) -> Tensor:
        return self.model.sample(SNAPSHOT, seed=self.config.train.seed)

    @torch.no_grad()
    def _posteriors(self, data: PreparedData) -> tuple[Float[Tensor, " n *d"], Float[Tensor, " n *d"]]:
        """Means and log-variances of the training images as the encoder saw them: binarised where the recipe says so, and where it
        flips, of each image's mirror image too."""
        split, size = data.split("train"), self.config.model.size
        ways = (False, True) if self.config.input.flip else (False,)
        most = max(1, LIMIT // (len(ways) * math.prod(self.model.latent_shape)))
        rows = evenly(len(split), most)
        parts = []
        for part in rows.split(ENCODED):
            x = from_8_bit(split.images(part, size=size))
            if self.config.input.binarise:
                x = binarised(x, self.config.train.seed + int(part[0]))
            x = x.to(self.model.device)
            for mirrored in ways:
                with quick_arithmetic(self.model.device):
                    posterior = self.model.encode(x.flip(3) if mirrored else x)
                parts.append((posterior.mean, posterior.log_variance))
        means, log_variances = (torch.cat(kept) for kept in zip(*parts, strict=True))
        return means, log_variances


def shuffled(count: int, batch: int, seed: int, start: int) -> Iterator[Int64[Tensor, " batch"]]:
    """Endless batches of rows below `count`, `start` rows on: every epoch in an order that follows from the seed and its number."""
    position, epoch, rows = start, -1, torch.empty(0, dtype=torch.int64)
    while True:
        found: list[Tensor] = []
        while (missing := batch - sum(map(len, found))) > 0:
            if position // count != epoch:
                epoch = position // count
                rows = torch.randperm(count, generator=torch.Generator().manual_seed((seed << 20) + epoch))
            found.append(rows[position % count :][:missing])
            position += len(found[-1])
        yield torch.cat(found)


def has_prior_stage(config: Stage1Config | Stage2Config) -> bool:
    """Whether a run of this configuration fits a prior after its autoencoder."""
    return config.stage == 1 and config.prior.kind != "normal"


def has_begun(run: Run) -> bool:
    """Whether the run's prior has a checkpoint."""
    return bool(checkpoint.existing(run.folder / CHECKPOINTS))


def forget_prior(run: Run) -> None:
    """Removes the checkpoints of the run's prior, for another autoencoder or another prior: all at once, whenever a kill comes."""
    old, gone = run.folder / CHECKPOINTS, run.folder / f".{CHECKPOINTS}.tmp"  # which Run.open sweeps
    if old.exists():
        old.rename(gone)
        shutil.rmtree(gone)


def prior_training(config: Stage1Config, run: Run | None, folder: Path, data: PreparedData, fabric: Fabric) -> Training:
    """The prior's training on top of the published autoencoder of the run in `folder`, at its newest checkpoint.

    `run` is None on every rank but the first. Raises UserError if a file of the run is damaged.
    """
    fabric.barrier()  # the autoencoder is published by the first rank
    torch.manual_seed(config.train.seed)
    model = load(folder, fabric.device, prior="normal")
    assert isinstance(model, Autoencoder)
    discriminator = load_discriminator(folder) if has_discriminator(folder) else None
    training = Training(PriorStage(config, model, discriminator), run, data, fabric)
    if checkpoint.existing(folder / CHECKPOINTS):
        try:
            _, state, complaints = checkpoint.newest(folder / CHECKPOINTS)
        except UserError as error:
            remedy = f"remove {folder / CHECKPOINTS}, then run: crvae train --resume {quote(str(folder))}"
            raise UserError(f"{error}. To fit the prior anew instead, {remedy}") from None
        training.restore(state)
        for complaint in complaints if run is not None else ():
            print(f"crvae: {complaint}", file=sys.stderr)
    else:
        training.save()
    if run is not None:
        run.forget_after(training.stage.part.before + training.images)
    return training
