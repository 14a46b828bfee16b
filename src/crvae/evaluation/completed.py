"""A judge of completions by attributes, in the place of people (section 5.3, Table 2): no human has seen them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from crvae import intervals
from crvae.evaluation.features import BATCH
from crvae.pictures import from_8_bit
from crvae.training.classifier import Classifier


@dataclass(frozen=True)
class Judgement:
    """What a classifier of attributes says of completions, beside their originals."""

    attributes: tuple[str, ...]
    confidence: Float[Tensor, "b a"]
    """Its probability of the value that it sees in the completion: low where the filled part is none of the set's own."""
    original_confidence: Float[Tensor, "b a"]
    agrees: Bool[Tensor, "b a"]
    """Whether it sees the value that it sees in the original."""
    chance: Float[Tensor, " a"]
    """How often it would, were each completion put beside the original of some image."""

    def table(self) -> dict[str, dict[str, Any]]:
        """By attribute: both confidences and the agreement, each with its interval, and `chance`."""
        return {
            name: {
                "confidence": intervals.mean(self.confidence[:, a]),
                "original_confidence": intervals.mean(self.original_confidence[:, a]),
                "agreement": intervals.share(int(self.agrees[:, a].sum()), len(self.agrees)),
                "chance": float(self.chance[a]),
            }
            for a, name in enumerate(self.attributes)
        }


def judged(
    classifier: Classifier, original: UInt8[Tensor, "b c h w"], completed: UInt8[Tensor, "b c h w"]
) -> Judgement:
    """What `classifier` says of completed images beside the originals.

    An attribute of the hidden part tells by its confidence whether that part is one of the set's own; one that is still seen
    (skin, hair colour) tells by its agreement whether the filled part fits the rest.
    """
    ours, theirs = (_probabilities(classifier, images) for images in (completed, original))
    agrees, chance = [], []
    for mine, its in zip(ours.values(), theirs.values(), strict=True):
        agrees.append(mine.argmax(1) == its.argmax(1))
        frequencies = (part.argmax(1).bincount(minlength=part.shape[1]) / len(part) for part in (mine, its))
        chance.append(torch.stack(list(frequencies)).prod(0).sum())
    confidence, original_confidence = (
        torch.stack([part.amax(1) for part in parts.values()], 1) for parts in (ours, theirs)
    )
    return Judgement(tuple(ours), confidence, original_confidence, torch.stack(agrees, 1), torch.stack(chance))


@torch.no_grad()
def _probabilities(classifier: Classifier, images: UInt8[Tensor, "b c h w"]) -> dict[str, Float[Tensor, "b _"]]:
    device = classifier.head.weight.device
    logits = torch.cat([classifier(from_8_bit(part).to(device)).cpu() for part in images.split(BATCH)])
    return {name: part.softmax(1) for name, part in classifier.split(logits).items()}
