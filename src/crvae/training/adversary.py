"""The adversarial side as one thing (sections 3.3.1 and 3.3.3): what it thinks of images, and what it learns from them.

The generating side asks `judge` and opens nothing; the discriminator's own step is `forward` on the images that were judged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from crvae import objectives
from crvae.models.discriminator import Discriminator
from crvae.training.ranks import mean_over_ranks
from crvae.training.stage import Carry, Group, Side, Terms


class Fakes(NamedTuple):
    """What the generating side made, for the discriminator: images in [-1, 1], and the latent to recover; detached."""

    reconstructions: Float[Tensor, "b c h w"]
    samples: Float[Tensor, "b c h w"] | None
    latent: Float[Tensor, " b2 *d"] | None

    @property
    def images(self) -> tuple[Float[Tensor, "b c h w"], ...]:
        """The kinds that there are."""
        return (self.reconstructions,) if self.samples is None else (self.reconstructions, self.samples)


class Judgement(NamedTuple):
    """What the adversary thinks of the generating side's images: named terms for it to minimise, and the images as fakes.

    terms: `adversarial_reconstruction` and `adversarial_sample`, as far as they were judged; with a latent head
    `mutual_information`, and for the log alone `mutual_information_explained`.
    """

    terms: Terms
    fakes: Fakes


@dataclass(frozen=True)
class Recovery:
    """How the latent head recovers the latent (equation 2): each block's weight, and the weight of the head's own error."""

    weights: Sequence[float]
    normalise: bool
    head: float


def unmoved(images: Tensor) -> Tensor:
    """Images as they are."""
    return images


class Adversary(nn.Module):
    """A discriminator with its objective, its rates and its schedule.

    forward(x, fakes) -> (loss, named terms, nothing) is what features, adversarial head and latent head minimise. The one
    module that is stored of it is `discriminator`.
    """

    def __init__(
        self,
        discriminator: Discriminator,
        rates: Mapping[str, float],
        *,
        loss: str = "softplus",
        margin: float = 0.0,
        after: int = 0,
        warm_up: Sequence[str] = (),
        mixed: bool = False,
        recovery: Recovery | None = None,
        augment: Callable[[Tensor], Tensor] = unmoved,
    ):
        """
        rates: multiples of the run's learning rate by the discriminator's groups. loss: a name of `objectives.GAMES`.
        margin: the adversarial part rests while the error rate, over all ranks, is below it: what the latent head's error
        does not reach keeps its weights and their moments. after: images seen before the first step. warm_up: groups whose
        rates warm up. mixed: judge one batch of all kinds, as the release does.
        augment: what is done to all images `b c h w` that either side shows to the discriminator.
        """
        super().__init__()
        self.discriminator = discriminator
        self.after = after
        self.waiting = False
        """Too few images were seen: the generating side trains alone."""
        self._game, self._margin, self._mixed, self._augment = objectives.GAMES[loss], margin, mixed, augment
        self._rates, self._warm_up, self._recovery = rates, warm_up, recovery
        weights = torch.tensor(recovery.weights if recovery else ())
        self.register_buffer("_weights", weights, persistent=False)
        self.register_buffer("_resting", torch.ones(()), persistent=False)

    def begin(self, images: int) -> None:
        """Called before each batch with the images seen so far."""
        self.waiting = images < self.after
        self.resting.fill_(1.0)

    @property
    def resting(self) -> Tensor:
        """1 if the error rate was below the margin in every part of the batch that `forward` has seen, else 0."""
        return self._resting  # type: ignore[return-value]

    def side(self) -> Side:
        """The discriminator's optimiser step."""
        groups = [
            Group(
                name,
                parameters,
                self._rates[name],
                warm_up=name in self._warm_up,
                rests=self._margin > 0 and (self._recovery is None or name == "adversarial_head"),
            )
            for name, parameters in self.discriminator.groups().items()
        ]
        return Side("discriminator", self, groups, self.after, lambda: self.resting)

    def judge(
        self,
        images: Float[Tensor, "b2 c h w"],
        latent: Float[Tensor, " b2 *d"] | None = None,
        *,
        samples: bool = True,
    ) -> Judgement:
        """Reconstructions and, with `samples`, as many samples behind them, with their latents, through frozen parameters.

        Gradients reach the images and stop there; the latent is a constant.
        """
        frozen = {name: parameter.detach() for name, parameter in self.discriminator.named_parameters()}

        def look(part: Tensor) -> tuple[Tensor, Tensor | None]:
            return functional_call(self.discriminator, frozen, (part,))

        shown = self._augment(images)
        kinds = ("reconstruction", "sample") if samples else ("reconstruction",)
        estimate = None
        if self.discriminator.together:
            realism, estimate = look(shown)
            parts = realism.chunk(len(kinds))
        else:
            parts = [look(part)[0] for part in shown.chunk(len(kinds))]
        terms = {f"adversarial_{kind}": self._game.fool(part) for kind, part in zip(kinds, parts, strict=True)}
        target = self._target(latent)
        if target is not None and estimate is not None:
            terms["mutual_information"] = self._recovered(estimate, target, len(kinds))
            terms["mutual_information_explained"] = objectives.explained(estimate, target)
        made = images.detach().chunk(len(kinds))
        return Judgement(terms, Fakes(made[0], made[1] if samples else None, target))

    def forward(self, x: Float[Tensor, "b c h w"], fakes: Fakes) -> tuple[Tensor, Terms, Carry]:
        realism, estimate = self._tell_apart(x, fakes)
        adversarial = self._game.tell_apart(*realism)
        error = mean_over_ranks(objectives.error_rate(*realism).detach())
        rest = error < self._margin
        self.resting.mul_(rest)
        loss = adversarial * ~rest
        if self._recovery is not None and fakes.latent is not None and estimate is not None:
            loss = loss + self._recovery.head * self._recovered(estimate, fakes.latent, len(fakes.images))
        return loss, {"discriminator": adversarial, "discriminator_error": error}, ()

    def _tell_apart(self, x: Tensor, fakes: Fakes) -> tuple[list[Tensor], Tensor | None]:
        """The logits of the real images and of each kind of fakes; and the fakes' estimated latent."""
        shown = self._augment(torch.cat([x, *fakes.images]))
        kinds = shown.chunk(1 + len(fakes.images))
        if self._mixed:
            realism = self._mixed_realism(*kinds)
            return realism, None if self._recovery is None else self.discriminator.estimate(shown[len(x) :])
        if self.discriminator.together:
            realism, estimate = self.discriminator(shown, real=len(x))
            return list(realism.chunk(len(kinds))), estimate
        return [self.discriminator(part)[0] for part in kinds], None

    def _mixed_realism(self, x: Tensor, reconstructions: Tensor, samples: Tensor) -> list[Tensor]:
        """One batch in fixed places: of every four images two real, then a sample, then a reconstruction (spec. 4)."""
        place = torch.arange(len(x), device=x.device) % 4
        is_sample, is_reconstruction = (place == 2).view(-1, 1, 1, 1), (place == 3).view(-1, 1, 1, 1)
        mixed = torch.where(is_sample, samples, torch.where(is_reconstruction, reconstructions, x))
        realism, _ = self.discriminator(mixed, real=len(mixed))
        return [torch.cat([realism[0::4], realism[1::4]]), realism[3::4], realism[2::4]]

    def _target(self, latent: Tensor | None) -> Tensor | None:
        """What the latent head is to recover: a constant."""
        if self._recovery is None or latent is None:
            return None
        latent = latent.detach()
        return (objectives.normalised(latent) if self._recovery.normalise else latent).float()

    def _recovered(self, estimate: Tensor, target: Tensor, kinds: int) -> Tensor:
        """Summed over the kinds of images, as adversarial terms are; equation 2 has an expectation over each."""
        pairs = zip(estimate.chunk(kinds), target.chunk(kinds), strict=True)
        return torch.stack([objectives.recover(*pair, self._weights) for pair in pairs]).sum()  # type: ignore[arg-type]
